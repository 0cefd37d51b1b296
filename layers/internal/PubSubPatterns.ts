/**
 * Values by pattern, and those whose pattern matches a topic, found without a look at all the others. What the patterns
 * mean stands in schema/TopicName.ts.
 *
 * A tree with a node for each segment, walked for all patterns at once: a topic takes time by the patterns that begin
 * like it. Nothing is remembered of topics, of which there may be any number.
 */
export class Patterns<A> {
  private readonly root = new Node<A>("", undefined)
  /** Numbers the steps of all walks. */
  private step = 0
  size = 0

  set(pattern: string, value: A): void {
    let node = this.root
    for (const segment of pattern.split(".")) node = node.next.get(segment) ?? node.grow(segment)
    if (node.value === undefined) this.size++
    node.value = value
  }

  delete(pattern: string): void {
    let node: Node<A> | undefined = this.root
    for (const segment of pattern.split(".")) node = node?.next.get(segment)
    if (node === undefined || node.value === undefined) return
    node.value = undefined
    this.size--
    while (node.parent !== undefined && node.value === undefined && node.next.size === 0) {
      node.parent.next.delete(node.segment)
      node = node.parent
    }
  }

  /** **Returns** each value once, in no order. */
  matching(topic: string): ReadonlyArray<A> {
    let nodes = [this.root]
    for (const segment of topic.split(".")) {
      const step = ++this.step
      const reached: Array<Node<A>> = []
      for (const node of nodes) {
        // Of all nodes only these are reached in two ways: from before, and by taking one segment more.
        if (node.segment === "**") node.reach(reached, step)
        node.next.get("**")?.reach(reached, step)
        node.next.get("*")?.reach(reached, step)
        if (segment !== "*" && segment !== "**") node.next.get(segment)?.reach(reached, step)
      }
      if (reached.length === 0) return []
      nodes = reached
    }
    const values: Array<A> = []
    for (const { value } of nodes) if (value !== undefined) values.push(value)
    return values
  }
}

class Node<A> {
  readonly segment: string
  readonly parent: Node<A> | undefined
  readonly next = new Map<string, Node<A>>()
  value: A | undefined = undefined
  private reachedAt = 0

  constructor(segment: string, parent: Node<A> | undefined) {
    this.segment = segment
    this.parent = parent
  }

  grow(segment: string): Node<A> {
    const node = new Node(segment, this)
    this.next.set(segment, node)
    return node
  }

  reach(reached: Array<Node<A>>, step: number): void {
    if (this.reachedAt === step) return
    this.reachedAt = step
    reached.push(this)
  }
}
