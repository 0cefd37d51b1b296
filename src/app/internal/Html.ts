/** Text inside of HTML, and what pages of our own may do. */

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&#39;" }

/** Makes text harmless between tags and in quoted attributes. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, (char) => entities[char]!)

/** Inline style is all that our pages need; `content-security-policy` for them. */
export const contentSecurityPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
