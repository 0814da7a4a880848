"""Comparisons with a stated error: exact tests, valid however often one looks. Floats stay inside, never in evidence.

- `binomial`: tails and Clopper-Pearson bounds, the base of all others.
- `looks`: how the error of one node is shared over its comparisons, and of one comparison over the looks at it.
- `counts`: two counts over two exposures: loss as well as drops, retransmits and resets.
- `quantiles`: intervals of latency quantiles from order statistics, of samples and of log2 histograms.
- `controls`: how much of a change the nodes not yet migrated show as well.

Decision: exact tests with the error spent over the looks, because a few hundred packets with next to no loss are
where mixture e-processes (Turner, Ly and Grünwald 2024, doi:10.1016/j.jspi.2023.106116) and the closed-form quantile
bounds of Howard and Ramdas (2022, doi:10.3150/21-BEJ1388) pay most: at 400 samples and an error of 1e-4 the latter's
interval of a p90 has no upper end. Their guarantee is kept: the chance of ever being wrong over all looks is bounded,
without a plan of how many there will be.
"""
