/** How the welcome page looks: one column of cards, light or dark as the visitor's system is. */
export const style = `
:root { color-scheme: light dark; --ink: #10212f; --paper: #f6f8f9; --card: #fff; --line: #d5dde3; --sea: #0b6e8f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3ebf0; --paper: #0e161c; --card: #16212a; --line: #2a3944; --sea: #5cc1e0 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.6 system-ui, sans-serif }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem 4rem }
header { border-bottom: 3px solid var(--sea); margin-bottom: 2rem; padding-bottom: 1.25rem }
h1 { font-size: 2.4rem; line-height: 1.1; margin: 0 0 .5rem; letter-spacing: -.02em }
h2 { font-size: 1.05rem; margin: 0 }
p { margin: .25rem 0 }
section { margin: 1rem 0; padding: 1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem }
.row { display: flex; gap: .5rem 1rem; align-items: center; justify-content: space-between; flex-wrap: wrap }
.row input { flex: 1 1 12rem; margin: 0 }
code, pre, textarea, input { font: 14px/1.5 ui-monospace, monospace }
a { color: var(--sea) }
pre { margin: .75rem 0 0; padding: .75rem; max-height: 20rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--paper); border: 1px solid var(--line); border-radius: .5rem }
pre:empty { display: none }
textarea, input { width: 100%; margin-top: .75rem; padding: .45rem .75rem; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: .5rem; resize: vertical }
form.row { margin-top: .75rem }
button { font: inherit; padding: .3rem 1rem; border: 0; border-radius: .5rem; cursor: pointer;
  background: var(--sea); color: var(--card) }
button:disabled { opacity: .5; cursor: default }
:focus-visible { outline: 2px solid var(--sea); outline-offset: 2px }
:root:not(.scripted) .live, .scripted .dead { display: none }
`
