"""All limits of the doctor's rules.

They were set on runs of seeds 0 and 1 (benchmarks/doctor_curves.py; seed 0 is kept in
tests/doctor/curves/design.jsonl), between the numbers of healthy and of broken runs. Errors on
seeds 3 to 5 were corrected where a principle required it; published figures are of seeds 6 to 8,
which were evaluated after that. Shares are of the fall: from the first epoch's loss to the best.
"""

ADAPTIVE = ("adam", "adamw", "adamax", "nadam", "radam", "rmsprop")  # a step is about the rate
USUAL_RATE = 1e-3  # in most papers, and the default here; SGD has none: its gradients scale it
RATE_FAR_ABOVE, RATE_FAR_BELOW = 20, 20  # times: within this factor a rate alone is no evidence

EARLY_FALL = 0.6  # of the fall in half of the epochs; 0.5 on a straight line, 0.8 at a good rate
STRAIGHT_LINE = 0.4  # below it the fall grows quicker, as it does after a slow start
SLIGHT_FALL = 0.17  # fall over the start, where no rate is known; low rates 0.14, healthy from 0.2
SPIKE_RISE = 0.06  # of the fall: a spike; healthy runs rose by 0.04, once by 0.09
SPIKE_NOISES = 5  # times the noise about the trend: a spike, not its tail
UNREST = 0.06  # of the fall, by which a fifth of the epochs rises; in no healthy run a fifth rose
FIRST_EPOCH_EXCESS = 4  # first epoch's mean above the loss after it, over it; healthy runs: 0.7
FIRST_EPOCH_EXCESS_CSV = 1000  # targets in large units may begin with hundreds and soon be good
GAIN_AFTER_EXCESS = 0.35  # of the loss after a blast: it is not recovered by a smaller gain
GAIN_AFTER_FIFTH = 0.05  # of the fall, after a fifth of the epochs at a rate far too high
PLATEAU_EPOCHS = 0.12  # of the epochs to 19/20 of the fall, without a fall; healthy runs: 0.05
VALIDATION_RISE = 0.06  # of the fall: validation above its best; healthy runs: 0.03
VALIDATION_GAP = 0.03  # of the fall: validation below the next epoch's training loss
VALIDATION_GAP_CSV = 0.15  # of a CSV: small validation splits are easier by up to 0.12
REGULARISERS = (
    *("model.dropout", "model.denoise", "model.input_noise", "model.label_smoothing"),
    *("dataset.flip", "dataset.shift"),
)
EXPECTED_GAIN = 0.02  # of the fall, expected of as many epochs again: worth them
LATE_FALL = 0.08  # of the fall in the second half: more to come, where noise hides how much
LOSS_RISE = 1.0  # end above start, in sizes of the start
FEWEST_STEPS = 50  # optimizer steps, before which samples, codes and reconstructions are not judged
MEAN_ERROR = 0.94  # share of the mean image's error; 0.9 is passed by anything that has learned
ABOVE_MEAN_ERROR = 1.05  # times the mean image's error: not even there yet
LEAVING_MEAN = 0.04  # of the fall in the second half: not stuck at the mean
FALL_OVER_NOISE = 5  # times the noise about the trend: a fall, not a flat curve's luck
LARGE_BETA = 15  # beta-VAEs are used up to about 10
SWAPPED_ERROR = 1.00003  # error with another's code over error with its own; untrained: 1.0003
CODE_DEVIATION = 0.02  # of a code over examples: below it the code is constant
CODE_NATS = 0.1  # in a whole code: below it nothing is sent
VANISHING_D_FAKE = 0.15  # D(G(z)), to which the gradient of minimax is proportional; 0.5 at balance
CERTAIN_D = 0.05  # probability of D's mistakes
SAMPLE_COVERAGE = 0.35  # of the test examples near a sample; healthy GANs: from 0.8
SAMPLE_VARIANCE = 0.25  # variance of samples over that of the data; healthy GANs: from 0.8
INVERSE_ERROR = 0.01  # of the data's deviation: seen in an image; rounding gives 1e-5
EMA_LAG = 0.03  # of the fall: the average behind the weights themselves

ACTIVATIONS_OF_LOSS = {  # losses.fitting without torch: a loss and the activations it goes with
    "bce": ("sigmoid",),
    "cce": ("softmax",),
    "kl": ("softmax",),
    "mse": ("linear", "sigmoid"),
    "mae": ("linear", "sigmoid"),
    "huber": ("linear", "sigmoid"),
    "msle": ("linear", "sigmoid"),
}
