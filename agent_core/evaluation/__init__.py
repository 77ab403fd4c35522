"""What a policy would have earned on decisions that another one took.

A log knows the reward of what was done and with which propensity, and the target policy says how likely it
would have done the same. Everything here is a pure function on numpy columns, in four steps:

    weights          how much more likely the target policy was to do what was done      `[T]`
    terms            what every decision, or every episode, adds to an estimate          `[T]`
    moments          their sums: shards of a log are summed apart and merged
    estimate         a value with its variance; bounds, diagnostics and a verdict follow

So an evaluation of two shards, with inverse propensity scores and nothing else, is

    rows = [importance(log.reward, log.ratio()) for log in shards]
    estimate = plain(Moments.of(rows[0]).merged(Moments.of(rows[1])))
    weights = WeightSums.of(rows[0].weight).merged(WeightSums.of(rows[1].weight))
    lower = betting_lower(Tally.of(rows[0].correction).merged(Tally.of(rows[1].correction)), delta=0.05)
    report = judged(Question(baseline=0.1, effective_rows=500), {"IPS": estimate}, weights, lower)

Letters: T decisions, N actions of all their sets one after the other, E episodes, K slots, D features.
"""
