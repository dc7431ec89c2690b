"""All limits of the doctor's rules.

They were set on the runs of seeds 0 and 1 in tests/doctor/curves/ (benchmarks/doctor_curves.py),
between what healthy runs show and what horrors show, and are checked on other seeds. Shares are of
the fall: from the first epoch's loss to the best.
"""

ADAPTIVE = ("adam", "adamw", "adamax", "nadam", "radam", "rmsprop")  # a step is about the rate
USUAL = 1e-3  # their rate in most papers, and ours; SGD has no usual one, its gradients scale it
FAR_ABOVE, FAR_BELOW = 20, 20  # times: within this factor a rate alone is no evidence

EARLY = (
    0.6  # a healthy run has more than 7/10 of its fall in half of its epochs, a straight line 5/10
)
STRAIGHT = 0.43  # below it the fall grows quicker, as it does after a slow start
LEAP = 0.06  # of the fall: a spike; epochs of healthy runs rise by less than 0.03
NOISES = 5  # times the noise about the trend: a spike, not its tail
RESTLESS = 0.06  # of the fall, by which a fifth of the epochs rises; healthy runs: up to 0.02
BLAST = 6  # first epoch's mean above the loss after it, in sizes of that; healthy runs: up to 2
STUCK = 0.05  # of the fall that came after the first fifth of the epochs, at a rate far too high
PLATEAU = 0.15  # of the epochs without a fall
ROSE = 0.06  # of the fall: validation above its best; noise and small splits give up to 0.04
GAP = 0.03  # of the fall: validation below the next epoch's training loss
GAP_UNKNOWN = 0.15  # where the file does not say what acts: a small split may be easier by 0.1
REGULARISERS = (
    *("model.dropout", "model.denoise", "model.input_noise", "model.label_smoothing"),
    *("dataset.flip", "dataset.shift"),
)
AHEAD = 0.02  # of the fall, expected of as many epochs again: worth them
MOVING = 0.08  # of the fall in the second half: more to come, where noise hides how much
BLOWN = 1.0  # end above start, in sizes of the start
MEAN = 0.94  # share of the mean image's error; 0.9 is passed by anything that has learned
ABOVE_MEAN = 1.05  # times the mean image's error: not even there yet
LEAVING = 0.04  # of the fall in the second half: not stuck at the mean
FAR_BETA = 15  # beta-VAEs are used up to about 10
SWAPPED = 1.00003  # error with another's code over error with its own; untrained: 1.0003
DEVIATION = 0.02  # of a code over examples: below it the code is constant
NATS = 0.1  # in a whole code: below it nothing is sent
FAINT = 0.1  # D(G(z)), to which the gradient of minimax is proportional; 0.5 at balance
SURE = 0.05  # probability of D's mistakes
UNCOVERED = 0.35  # of the test examples near a sample
NARROW = 0.25  # variance of samples over that of the data
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
