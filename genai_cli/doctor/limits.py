"""All limits of the doctor's rules.

They were set on runs of seeds 0 and 1 (benchmarks/doctor_curves.py; seed 0 is kept in
tests/doctor/curves/design.jsonl), between what healthy runs and what horrors show. What the doctor
got wrong of seeds 3 to 5 was mended where a principle said so; the figures told are of seeds 6
to 8, looked at after that. Shares are of the fall: from the first epoch's loss to the best.
"""

ADAPTIVE = ("adam", "adamw", "adamax", "nadam", "radam", "rmsprop")  # a step is about the rate
USUAL = 1e-3  # their rate in most papers, and ours; SGD has no usual one, its gradients scale it
FAR_ABOVE, FAR_BELOW = 20, 20  # times: within this factor a rate alone is no evidence

EARLY = 0.6  # of the fall in half of the epochs; 0.5 on a straight line, 0.8 at a good rate
STRAIGHT = 0.4  # below it the fall grows quicker, as it does after a slow start
SLIGHT = 0.17  # fall over the start, where no rate is known; low rates 0.14, healthy from 0.2
LEAP = 0.06  # of the fall: a spike, of which a run has two; healthy runs rose by 0.04, once by 0.09
NOISES = 5  # times the noise about the trend: a spike, not its tail
RESTLESS = 0.06  # of the fall, by which a fifth of the epochs rises; in no healthy run a fifth rose
BLAST = 4  # first epoch's mean above the loss after it, in sizes of that; healthy runs: 0.7
BLAST_UNKNOWN = 1000  # of a CSV: a target in large units may begin with hundreds and soon be good
STAYS = 0.35  # of the loss after a blast: it is not recovered by a smaller gain
STUCK = 0.05  # of the fall that came after the first fifth of the epochs, at a rate far too high
PLATEAU = 0.12  # of the epochs to 19/20 of the fall, without a fall; healthy runs: 0.05
ROSE = 0.06  # of the fall: validation above its best; healthy runs: 0.03
GAP = 0.03  # of the fall: validation below the next epoch's training loss
GAP_UNKNOWN = 0.15  # where the file does not say what acts: small splits are easier by up to 0.12
REGULARISERS = (
    *("model.dropout", "model.denoise", "model.input_noise", "model.label_smoothing"),
    *("dataset.flip", "dataset.shift"),
)
AHEAD = 0.02  # of the fall, expected of as many epochs again: worth them
MOVING = 0.08  # of the fall in the second half: more to come, where noise hides how much
BLOWN = 1.0  # end above start, in sizes of the start
BEGUN = 50  # optimizer steps, before which samples, codes and reconstructions are not judged
MEAN = 0.94  # share of the mean image's error; 0.9 is passed by anything that has learned
ABOVE_MEAN = 1.05  # times the mean image's error: not even there yet
LEAVING = 0.04  # of the fall in the second half: not stuck at the mean
ABOVE_NOISE = 5  # times the noise about the trend: a fall, not a flat curve's luck
FAR_BETA = 15  # beta-VAEs are used up to about 10
SWAPPED = 1.00003  # error with another's code over error with its own; untrained: 1.0003
DEVIATION = 0.02  # of a code over examples: below it the code is constant
NATS = 0.1  # in a whole code: below it nothing is sent
FAINT = 0.15  # D(G(z)), to which the gradient of minimax is proportional; 0.5 at balance
SURE = 0.05  # probability of D's mistakes
UNCOVERED = 0.35  # of the test examples near a sample; healthy GANs: from 0.8
NARROW = 0.25  # variance of samples over that of the data; healthy GANs: from 0.8
INVERSE = 0.01  # of the data's deviation: seen in an image; rounding gives 1e-5
LAG = 0.03  # of the fall: the average behind the weights themselves

FITS = {  # losses.fitting without torch: a loss and the activations it goes with
    "bce": ("sigmoid",),
    "cce": ("softmax",),
    "kl": ("softmax",),
    "mse": ("linear", "sigmoid"),
    "mae": ("linear", "sigmoid"),
    "huber": ("linear", "sigmoid"),
    "msle": ("linear", "sigmoid"),
}
