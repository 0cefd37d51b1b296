/** Text inside of HTML. */

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;" }

/** Makes text harmless between tags and in quoted attributes. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, (char) => entities[char]!)
