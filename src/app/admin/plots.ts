/**
 * The dashboard's plots, as the browser runs them: lines and stacked areas over time on a canvas, one cursor for all of
 * them, and legends that say the values under it. They know points as rows of numbers and nothing of what these mean.
 */
export const plots = `
const plots = []
let points = []
let windowSeconds = 300
let cursorAt = null

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim()

// The least round number that is not below, so that an axis keeps still: 1, 2, 2.5 or 5 times a power of ten, or of two.
const roundUp = (value, base) => {
  if (value <= 0) return 0
  const unit = base === 1024 ? 1024 ** Math.floor(Math.log(value) / Math.log(1024)) : 1
  const power = 10 ** Math.floor(Math.log10(value / unit))
  const step = [1, 2, 2.5, 5, 10].find((candidate) => candidate * power * unit >= value * 0.999) || 10
  return step * power * unit
}

// While there is less than was asked for, the plots begin with a shorter time, which grows in steps.
const shownSeconds = () => {
  const seconds = points.length === 0 ? 0 : (points[points.length - 1][0] - points[0][0]) / 1000
  return Math.min(windowSeconds, [60, 120, 300].find((step) => step >= seconds) || 600)
}

const ago = (seconds) => "\\u2212" + (seconds < 60 ? seconds + " s" : seconds / 60 + " min")

const visible = () => {
  const end = points.length === 0 ? 0 : points[points.length - 1][0]
  const start = end - shownSeconds() * 1000
  let first = points.findIndex((point) => point[0] >= start)
  // The one before, so that lines come in from the edge.
  if (first > 0) first--
  return { start, end, rows: first === -1 ? [] : points.slice(first) }
}

const nearest = (at) => {
  let found = null
  for (const point of points) if (found === null || Math.abs(point[0] - at) < Math.abs(found[0] - at)) found = point
  return found
}

class Plot {
  constructor(figure, options) {
    this.canvas = figure.querySelector("canvas")
    this.options = options
    this.name = figure.querySelector("h2").textContent
    this.columns = options.series.map(({ column }) => columns.indexOf(column))
    this.values = options.series.map((series) => {
      const item = document.createElement("li")
      const swatch = document.createElement("i")
      const value = document.createElement("b")
      swatch.style.background = "var(--" + series.color + ")"
      item.append(swatch, document.createTextNode(series.name), value)
      figure.querySelector("ul").append(item)
      return value
    })
    this.listen()
    new ResizeObserver(() => this.draw()).observe(this.canvas)
  }

  listen() {
    const { canvas } = this
    const point = (event) => {
      const { left, width } = canvas.getBoundingClientRect()
      const { end, start } = visible()
      moveCursor(start + (end - start) * Math.min(1, Math.max(0, (event.clientX - left) / width)))
    }
    canvas.addEventListener("pointermove", point)
    canvas.addEventListener("pointerdown", point)
    canvas.addEventListener("pointerleave", () => moveCursor(null))
    canvas.addEventListener("blur", () => moveCursor(null))
    canvas.addEventListener("keydown", (event) => {
      const { rows } = visible()
      const at = cursorAt === null ? rows.length - 1 : rows.indexOf(nearest(cursorAt))
      const steps = event.shiftKey ? 10 : 1
      const to = { ArrowLeft: at - steps, ArrowRight: at + steps, Home: 0, End: rows.length - 1 }[event.key]
      if (event.key === "Escape") moveCursor(null)
      if (to === undefined || rows.length === 0) return
      event.preventDefault()
      moveCursor(rows[Math.min(rows.length - 1, Math.max(0, to))][0])
    })
  }

  draw() {
    const { canvas } = this
    const { end, rows, start } = visible()
    const width = canvas.clientWidth
    const height = canvas.clientHeight
    const ratio = window.devicePixelRatio || 1
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio)
      canvas.height = Math.round(height * ratio)
    }
    const pen = canvas.getContext("2d")
    pen.setTransform(ratio, 0, 0, ratio, 0, 0)
    pen.clearRect(0, 0, width, height)
    const stacks = this.options.stacked ? this.stack(rows) : rows.map((row) => this.columns.map((column) => row[column]))
    const top = this.top(stacks)
    const frame = { pen, width, height, start, end, top, rows, bottom: height - 18, head: 14 }
    this.grid(frame)
    const order = this.options.series.map((_, index) => index).reverse()
    for (const index of order) this.line(frame, stacks, index)
    this.scale(frame)
    this.cursor(frame, stacks)
    this.legend()
  }

  stack(rows) {
    return rows.map((row) => {
      let sum = 0
      return this.columns.map((column) => row[column] === null ? null : sum += row[column])
    })
  }

  top(stacks) {
    let most = 0
    for (const values of stacks) for (const value of values) if (value > most) most = value
    return Math.max(this.options.least, roundUp(most, this.options.base))
  }

  x(frame, at) {
    return (at - frame.start) / (frame.end - frame.start || 1) * frame.width
  }

  y(frame, value) {
    return frame.bottom - value / frame.top * (frame.bottom - frame.head)
  }

  grid(frame) {
    const { bottom, pen, width } = frame
    pen.font = "11px " + getComputedStyle(document.body).fontFamily
    pen.lineWidth = 1
    const line = css("line")
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(this.y(frame, frame.top * share)) + 0.5
      pen.strokeStyle = line
      pen.beginPath()
      pen.moveTo(0, y)
      pen.lineTo(width, y)
      pen.stroke()
    }
    pen.fillStyle = css("dim")
    const seconds = shownSeconds()
    pen.textAlign = "left"
    pen.fillText(ago(seconds), 0, bottom + 14)
    pen.textAlign = "center"
    pen.fillText(ago(seconds / 2), width / 2, bottom + 14)
    pen.textAlign = "right"
    pen.fillText("now", width, bottom + 14)
  }

  // Over the lines, with a rim of the card's colour: readable whatever is behind.
  scale(frame) {
    const { pen } = frame
    pen.textAlign = "left"
    pen.lineWidth = 3
    pen.lineJoin = "round"
    pen.strokeStyle = css("card")
    pen.fillStyle = css("dim")
    for (const share of [0.5, 1]) {
      const text = this.options.format(frame.top * share)
      const y = this.y(frame, frame.top * share) - 3
      pen.strokeText(text, 0, y)
      pen.fillText(text, 0, y)
    }
  }

  // Pieces without a hole: what was not seen is not drawn.
  pieces(frame, stacks, index) {
    const pieces = []
    let piece = null
    frame.rows.forEach((row, position) => {
      const value = stacks[position][index]
      if (value === null) return piece = null
      if (piece === null || row[0] - piece.last > 3500) pieces.push(piece = { places: [], last: row[0] })
      piece.last = row[0]
      piece.places.push([this.x(frame, row[0]), this.y(frame, value), position])
    })
    return pieces
  }

  line(frame, stacks, index) {
    const { pen } = frame
    const { color, filled } = this.options.series[index]
    const ink = css(color)
    pen.strokeStyle = ink
    pen.fillStyle = ink
    pen.lineWidth = 1.5
    pen.lineJoin = "round"
    for (const { places } of this.pieces(frame, stacks, index)) {
      pen.beginPath()
      for (const [x, y] of places) pen.lineTo(x, y)
      if (places.length === 1) pen.lineTo(places[0][0] + 1.5, places[0][1])
      if (!this.options.stacked || places.some(([, , position]) => this.isThere(stacks[position], index))) pen.stroke()
      if (!filled && !this.options.stacked) continue
      const below = (position) => this.options.stacked && index > 0 ? stacks[position][index - 1] : 0
      for (const [x, , position] of places.slice().reverse()) pen.lineTo(x, this.y(frame, below(position)))
      pen.globalAlpha = this.options.stacked ? 0.5 : 0.14
      pen.fill()
      pen.globalAlpha = 1
    }
  }

  isThere(stack, index) {
    return stack[index] > (index === 0 ? 0 : stack[index - 1])
  }

  cursor(frame, stacks) {
    const row = cursorAt === null ? null : nearest(cursorAt)
    const position = frame.rows.indexOf(row)
    if (row === null || position === -1) return
    const { bottom, head, pen } = frame
    const x = Math.round(this.x(frame, row[0])) + 0.5
    pen.strokeStyle = css("dim")
    pen.lineWidth = 1
    pen.beginPath()
    pen.moveTo(x, head)
    pen.lineTo(x, bottom)
    pen.stroke()
    this.options.series.forEach(({ color }, index) => {
      const value = stacks[position][index]
      if (value === null || (this.options.stacked && !this.isThere(stacks[position], index))) return
      pen.fillStyle = css(color)
      pen.strokeStyle = css("card")
      pen.lineWidth = 1.5
      pen.beginPath()
      pen.arc(x, this.y(frame, value), 3.5, 0, 7)
      pen.fill()
      pen.stroke()
    })
  }

  legend() {
    const row = cursorAt === null ? points[points.length - 1] : nearest(cursorAt)
    const { format, series, unit } = this.options
    const isKnown = (column) => row !== undefined && row[column] !== null
    const texts = this.columns.map((column) => isKnown(column) ? format(row[column]) : "\\u2013")
    texts.forEach((text, index) => put(this.values[index], text))
    const words = series.map(({ name }, index) => name + " " + texts[index]).join(", ")
    this.canvas.setAttribute("aria-label", this.name + " in " + unit + ": " + words)
  }
}

const moveCursor = (at) => {
  cursorAt = at
  put(find("#cursor"), at === null ? "" : "At " + clock(nearest(at)?.[0]))
  for (const plot of plots) plot.draw()
}

const drawAll = () => { for (const plot of plots) plot.draw() }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll)
`
