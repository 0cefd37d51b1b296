/**
 * Finds what is registered for a path: a tree of segments, built once. A literal is tried before parameters with a
 * test, those before a plain parameter, that before a catch-all; where a branch ends without a match, the next is tried.
 * The cost of a search depends on the length of the path and on the tests it meets, not on how much is registered.
 *
 * Knows nothing of methods and requests: a leaf is what its maker put there.
 */
import type { Dynamic, Pattern } from "./RoutePattern.ts"
import * as RoutePattern from "./RoutePattern.ts"

interface Node<Leaf> {
  readonly literals: Map<string, Node<Leaf>>
  /** Parameters with a test, in the order of their registration. */
  readonly tested: Array<{ readonly segment: Dynamic; readonly node: Node<Leaf> }>
  plain: { readonly segment: Dynamic; readonly node: Node<Leaf> } | undefined
  rest: Leaf | undefined
  leaf: Leaf | undefined
}

export type Tree<Leaf> = Node<Leaf>

export const make = <Leaf>(): Tree<Leaf> => ({
  literals: new Map(),
  tested: [],
  plain: undefined,
  rest: undefined,
  leaf: undefined
})

/** Yields the leaves of a pattern: one, and one more for each segment that may be left out. The longest is the first. */
export const insert = <Leaf>(tree: Tree<Leaf>, pattern: Pattern, create: () => Leaf): ReadonlyArray<Leaf> => {
  const leaves: Array<Leaf> = []
  const { optional, rest, segments } = pattern
  for (let length = segments.length; length >= segments.length - optional; length--) {
    let node = tree
    for (const segment of length === 0 && rest === undefined ? [""] : segments.slice(0, length)) {
      node = child(node, segment)
    }
    leaves.push(rest === undefined ? node.leaf ??= create() : node.rest ??= create())
  }
  return leaves
}

const child = <Leaf>(node: Node<Leaf>, segment: string | Dynamic): Node<Leaf> => {
  if (typeof segment === "string") {
    let next = node.literals.get(segment)
    if (next === undefined) node.literals.set(segment, next = make())
    return next
  }
  if (segment.key === "") return (node.plain ??= { segment, node: make() }).node
  const known = node.tested.find((edge) => edge.segment.key === segment.key)
  if (known !== undefined) return known.node
  const edge = { segment, node: make<Leaf>() }
  node.tested.push(edge)
  return edge.node
}

export interface Visitor<Leaf> {
  /** Whether this is the leaf that is looked for. */
  visit(leaf: Leaf): boolean
}

/**
 * Visits each leaf that fits, best first, until the visitor answers `true`. `values` then holds the values of its
 * parameters; it is the same array each time. The first `end` segments are what must fit.
 */
export const search = <Leaf>(
  tree: Tree<Leaf>,
  segments: ReadonlyArray<string>,
  end: number,
  values: Array<string>,
  visitor: Visitor<Leaf>
): boolean => step(tree, segments, 0, end, values, visitor)

/** Calls `see` with every leaf that fits, best first. */
export const each = <Leaf>(
  tree: Tree<Leaf>,
  segments: ReadonlyArray<string>,
  end: number,
  values: Array<string>,
  see: (leaf: Leaf) => void
): void => {
  search(tree, segments, end, values, {
    visit: (leaf) => {
      see(leaf)
      return false
    }
  })
}

const step = <Leaf>(
  node: Node<Leaf>,
  segments: ReadonlyArray<string>,
  index: number,
  end: number,
  values: Array<string>,
  visitor: Visitor<Leaf>
): boolean => {
  if (index === end) return node.leaf !== undefined && visitor.visit(node.leaf)
  const text = segments[index]!
  const literal = node.literals.get(text)
  if (literal !== undefined && step(literal, segments, index + 1, end, values, visitor)) return true
  const before = values.length
  for (const { segment, node: next } of node.tested) {
    if (!RoutePattern.match(segment, text, values)) continue
    if (step(next, segments, index + 1, end, values, visitor)) return true
    values.length = before
  }
  if (node.plain !== undefined && text !== "") {
    values.push(text)
    if (step(node.plain.node, segments, index + 1, end, values, visitor)) return true
    values.length = before
  }
  if (node.rest === undefined) return false
  values.push(segments.slice(index, end).join("/"))
  if (visitor.visit(node.rest)) return true
  values.length = before
  return false
}
