/** 10,000 callbacks that count, told apart so that no call can be merged with another. */
export const callbackCount = 10_000

export const makeCallbacks = () => {
  const total = { bytes: 0 }
  const callbacks = Array.from({ length: callbackCount }, (_, index) => {
    const weight = index & 3
    return (/** @type {{ data: string }} */ message) => {
      total.bytes += message.data.length + weight
    }
  })
  return { callbacks, total }
}

/** Publications of a batch. */
export const rounds = 20
