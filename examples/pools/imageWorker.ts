/** Runs in the workers of the pool of images: code that computes, and state that is made once in each. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { WorkerTask } from "slipway"
import * as images from "./images.ts"

/** Stands for what is expensive to load: a model, a codec, a connection. */
class Codec extends Context.Service<Codec, { readonly pixels: (image: Uint8Array) => Uint8Array | undefined }>()(
  "example/Codec"
) {}

const codec = Layer.succeed(Codec, {
  pixels: (image) => {
    const text = new TextDecoder("latin1").decode(image)
    const head = /^P5\s+\d+\s+\d+\s+255\s/.exec(text)
    return head === null ? undefined : image.subarray(head[0].length)
  }
})

const countBright = WorkerTask.implement(images.countBright, ({ image, threshold }) =>
  Effect.gen(function*() {
    const pixels = (yield* Codec).pixels(image)
    if (pixels === undefined) return yield* new images.NotAnImage()
    let count = 0
    for (const pixel of pixels) if (pixel > threshold) count++
    return count
  }))

export default WorkerTask.module([countBright], { layer: codec })
