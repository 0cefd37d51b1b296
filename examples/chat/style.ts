/** How the chat looks: a room that fills the window, light or dark as the visitor's system is. */
export const style = `
:root { color-scheme: light dark; --ink: #10212f; --paper: #f6f8f9; --card: #fff; --line: #d5dde3; --sea: #0b6e8f;
  --own: #e3f2f7; --light: 38%; --soft: #5b6b78 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3ebf0; --paper: #0e161c; --card: #16212a; --line: #2a3944; --sea: #5cc1e0; --own: #15323f;
    --light: 72%; --soft: #93a4b0 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; height: 100dvh; display: grid; grid-template-rows: auto 1fr auto; gap: .75rem;
  padding: 1rem 1.25rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
header { display: flex; gap: .25rem 1rem; align-items: center; flex-wrap: wrap; border-bottom: 3px solid var(--sea);
  padding-bottom: .75rem }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0; letter-spacing: -.02em; overflow-wrap: anywhere }
h1::before { content: "# "; color: var(--soft) }
h2 { font-size: .8rem; text-transform: uppercase; letter-spacing: .06em; color: var(--soft); margin: 0 0 .5rem }
#status { margin: 0 auto 0 0; color: var(--soft); font-size: .9rem }
main { display: grid; grid-template-columns: 1fr 11rem; gap: .75rem; min-height: 0 }
#messages, aside { margin: 0; padding: 1rem; overflow: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem }
ol, ul { list-style: none; margin: 0; padding: 0 }
body:has(#enter[hidden]) #messages:empty::before { content: "Nothing has been said here yet."; color: var(--soft) }
#messages li { margin: 0 0 .6rem; padding: .4rem .75rem; border-radius: .6rem; width: fit-content; max-width: 42rem;
  background: var(--paper); border: 1px solid var(--line) }
#messages li.own { margin-left: auto; background: var(--own) }
#messages p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere }
strong { color: hsl(var(--hue, 200) 60% var(--light)); overflow-wrap: anywhere }
time { margin-left: .6rem; font-size: .8rem; color: var(--soft) }
aside li { padding: .1rem 0 }
aside li::before { content: "\\25cf"; color: #2e9e5b; margin-right: .5rem; font-size: .7rem; vertical-align: .12em }
aside li.own::after { content: " (you)"; color: var(--soft) }
footer form, header form { display: flex; gap: .5rem }
form[hidden] { display: none }
#typing { margin: 0 0 .25rem; height: 1.4rem; font-size: .9rem; color: var(--soft) }
#typing:not(:empty)::after { content: "\\2026" }
input { font: inherit; flex: 1; min-width: 0; padding: .5rem .75rem; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem }
input:read-only { opacity: .6 }
header input { width: 10rem; padding: .25rem .6rem }
button { font: inherit; padding: .4rem 1.1rem; border: 0; border-radius: .5rem; cursor: pointer;
  background: var(--sea); color: var(--card) }
header button { padding: .25rem .8rem }
:focus-visible { outline: 2px solid var(--sea); outline-offset: 2px }
@media (max-width: 40rem) {
  main { grid-template-columns: 1fr; grid-template-rows: auto 1fr }
  aside { grid-row: 1; padding: .5rem 1rem }
  aside ul { display: flex; gap: .25rem 1rem; flex-wrap: wrap }
  h2 { display: none }
}
`
