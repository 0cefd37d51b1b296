/** The few statistics that the tables show. */

/** @param {ReadonlyArray<number>} values at least one */
export const median = (values) => {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * Largest minus smallest, as a share of the median: how far the rounds are apart.
 *
 * @param {ReadonlyArray<number>} values at least one
 */
export const spread = (values) => (Math.max(...values) - Math.min(...values)) / median(values)
