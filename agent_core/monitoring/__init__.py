"""Does live traffic still look like what a policy was trained and approved on?

Pure functions on numpy columns, in float64: no clock, no storage, no randomness that was not handed in. What is
watched is kept as sums, which processes and windows count apart and merge in any order; what is judged is a
function of sums, so one process can judge for all.

    sums = Kind.of(rows)                        of one part of a window, at least one row
    sums = sums.merged(other)                   of both parts
    Kind.from_arrays(sums.to_arrays())          there and back, as named numpy arrays

    histograms            Bins, Counts          psi, psi_p_values: each feature's distribution
    moments               ColumnMoments         mean_z, gaussian_kl, kl_p_value: means and variances
    random_features       MeanEmbedding         squared_mmd: the joint distribution of all features
    nulls                 NullScores            p-values of a distance between rows, from the reference itself
    propensities          WeightSums, ActionCounts, EntropySums: do logged probabilities hold; is there exploration
    rewards               RewardSums            components against their total, values out of range, jumps
    quantiles             QuantileSketch        percentiles of rewards and delays
    reservoir             Reservoir             a sample of rows to look at
    confidence_sequences  Difference            asymptotic_interval, decide: a canary against the stable version
    bernstein             BernsteinSums         bernstein_difference: the same without asymptotics
    tails                 chi_squared_tail, normal_tail, bonferroni

A detector is what alarms have to remember. `after(...)` is its next state, `is_tripped` its verdict:

    detectors             Repeats, Cusum, EDetector, EProcess
    evidence              what each value says for a change, as the log of a ratio: what three of these are fed

So a window of rewards is watched by

    z = mean_z(ColumnMoments.of(rewards), baseline)[0]
    repeats = repeats.after(bool(z < -2))                             # a warning each, a trip at 3 of 5
    detector = detector.after(drop_log_ratio(rewards[:, 0], span, mean, bet))

and a canary by

    difference = Difference.of(canary, stable)
    interval = asymptotic_interval(difference, alpha=0.05, n_opt=5_000)
    verdict = decide(interval, difference.size, Plan(margin=0.002, n_min=200, n_max=50_000))

Letters: T rows of a window, d features or columns, B bins, D random features, C reward components, K cells of
actions, N actions of all decisions one after the other.
"""
