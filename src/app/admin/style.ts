/**
 * How the dashboard looks: one dense sheet of tiles, plots and tables, light or dark as the visitor's system is, from
 * a telephone's width to a wall's. Every part has its size before there is anything in it, so nothing moves when data
 * comes.
 */
export const style = `
:root { color-scheme: light dark;
  --paper: #f3f5f7; --card: #fff; --ink: #17222c; --dim: #5a6874; --line: #dfe5ea; --faint: #eef1f4; --sea: #0b6e8f;
  --good: #1d8577; --warn: #a86a00; --bad: #c2354b;
  --ok: #2a9d8f; --redirects: #6d8fc4; --refusals: #e3a02c; --failures: #d4475c;
  --p50: #8cc0dc; --p95: #2b7fb4; --p99: #7b4bab; --main: #2b7fb4; --third: #7b4bab; --tint: #d9e9f3 }
@media (prefers-color-scheme: dark) { :root {
  --paper: #0d141a; --card: #141d25; --ink: #e4ebf0; --dim: #93a3b0; --line: #25323d; --faint: #1b2630; --sea: #5cc1e0;
  --good: #4cc5b3; --warn: #e9b44c; --bad: #f4788a;
  --ok: #37ad9e; --redirects: #7d9fd6; --refusals: #e2aa47; --failures: #ee6b7e;
  --p50: #3f7ea3; --p95: #62b5e5; --p99: #b78ae0; --main: #62b5e5; --third: #b78ae0; --tint: #1d3b4f } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums }
h1, h2, p, dl, dd, figure { margin: 0 }
h2 { font-size: .8125rem; font-weight: 600; letter-spacing: .01em }
header, main, footer { max-width: 110rem; margin: 0 auto; padding: 0 1rem }
header { display: flex; flex-wrap: wrap; gap: .625rem 1rem; align-items: center; padding-top: 1rem;
  padding-bottom: .875rem }
.brand { display: flex; gap: .625rem; align-items: center }
.brand svg { flex: none; color: var(--sea) }
h1 { font-size: 1.0625rem; font-weight: 650; letter-spacing: -.01em; white-space: nowrap }
#application { flex: 1 1 0; min-width: 3rem; color: var(--dim); overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap }
#state { display: flex; gap: .5rem; align-items: center; min-width: 6rem; padding: .1875rem .75rem .1875rem .625rem;
  border: 1px solid var(--line); border-radius: 1rem; background: var(--card); font-weight: 600; white-space: nowrap }
#state::before { content: ""; width: .5625rem; height: .5625rem; border-radius: 50%; background: var(--dim) }
#state.good::before { background: var(--good) }
#state.warn::before { background: var(--warn) }
#state.bad::before { background: var(--bad) }
#state.bad { color: var(--bad) }
.facts { display: grid; grid-template-columns: 7rem 7.5rem 8.5rem 8rem 6rem minmax(0, 19rem); gap: .25rem 1rem;
  color: var(--dim); font-size: .8125rem }
.facts div { display: flex; gap: .375rem; min-width: 0; white-space: nowrap }
.facts dd { color: var(--ink); overflow: hidden; text-overflow: ellipsis }
main { display: grid; gap: .75rem; padding-bottom: 1.5rem; transition: opacity .3s }
.stale main { opacity: .5 }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(6, minmax(0, 1fr)) }
.tiles > div, .panel { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; min-width: 0 }
.tiles > div { padding: .625rem .875rem .6875rem }
.tiles dt { color: var(--dim); font-size: .8125rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.tiles .value { font-size: 1.625rem; font-weight: 600; line-height: 1.25; letter-spacing: -.02em; white-space: nowrap }
.tiles .value small { font-size: .875rem; font-weight: 500; color: var(--dim); letter-spacing: 0 }
.tiles .note { color: var(--dim); font-size: .8125rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  min-height: 1.45em }
.tiles .alarm .value { color: var(--bad) }
.row { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; justify-content: space-between }
.toolbar { min-height: 1.875rem; padding-top: .25rem }
fieldset { display: flex; margin: 0; padding: 2px; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card) }
fieldset label { position: relative; padding: .125rem .625rem; border-radius: .3125rem; font-size: .8125rem;
  color: var(--dim); cursor: pointer }
fieldset input { position: absolute; inset: 0; margin: 0; opacity: 0; cursor: pointer }
fieldset label:has(:checked) { background: var(--faint); color: var(--ink); font-weight: 600 }
.plots { display: grid; gap: .75rem; grid-template-columns: repeat(3, minmax(0, 1fr)) }
.plots .panel { padding: .625rem .875rem .5rem }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline; justify-content: space-between;
  min-height: 1.375rem }
.unit { color: var(--dim); font-size: .75rem }
canvas { display: block; width: 100%; height: 9.5rem; margin-top: .25rem; border-radius: .1875rem; touch-action: pan-y;
  cursor: crosshair }
.legend { display: flex; flex-wrap: wrap; gap: 0 .75rem; margin: .25rem 0 0; padding: 0; list-style: none;
  min-height: 1.45em; font-size: .8125rem; color: var(--dim) }
.legend li { display: flex; gap: .375rem; align-items: center; white-space: nowrap }
.legend i { width: .625rem; height: .1875rem; border-radius: .125rem }
.legend b { color: var(--ink); font-weight: 600; min-width: 4.5ch }
.tables { display: grid; gap: .75rem; grid-template-columns: repeat(2, minmax(0, 1fr)) }
.panel > .row { padding: .625rem .875rem .375rem }
.count { color: var(--dim); font-size: .8125rem }
.scroll { overflow: auto; border-radius: 0 0 .5rem .5rem }
.fixed .scroll { height: 24.375rem }
table { width: 100%; border-collapse: collapse; font-size: .8125rem }
th, td { padding: .3125rem .625rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line) }
thead th { border-top: 0; color: var(--dim); font-weight: 500; position: sticky; top: 0;
  background: var(--card); box-shadow: inset 0 -1px var(--line) }
tbody tr:first-child > * { border-top: 0 }
tbody tr:hover > * { background-color: var(--faint) }
th:first-child, td:first-child { padding-left: .875rem }
th:last-child, td:last-child { padding-right: .875rem }
.text { text-align: left }
.wide { width: 99%; min-width: 11rem; max-width: 11rem; overflow: hidden; text-overflow: ellipsis }
tbody .wide { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .75rem }
tbody th { color: var(--ink); font-weight: 500 }
tr.empty td { color: var(--dim); text-align: left; padding-block: .75rem; background: none }
.good { color: var(--good) }
.warn { color: var(--warn) }
.bad { color: var(--bad); font-weight: 600 }
.mark::before { content: ""; display: inline-block; width: .5rem; height: .5rem; margin-right: .4375rem;
  border-radius: 50%; background: currentColor }
.meter { min-width: 5.5rem; background-image: linear-gradient(var(--tint), var(--tint)); background-repeat: no-repeat;
  background-size: calc(var(--share, 0) * (100% - .75rem)) 1.1875rem; background-position: .375rem center }
:focus-visible { outline: 2px solid var(--sea); outline-offset: 2px }
fieldset label:has(:focus-visible) { outline: 2px solid var(--sea); outline-offset: 1px }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
footer { padding-bottom: 1.5rem; color: var(--dim); font-size: .8125rem }
@media (max-width: 75rem) {
  .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)) }
  .plots { grid-template-columns: repeat(2, minmax(0, 1fr)) }
  .facts { flex: 1 0 100%; grid-template-columns: 7rem 7.5rem 8.5rem 8rem 6rem minmax(0, 1fr) }
}
@media (max-width: 64rem) { .tables { grid-template-columns: minmax(0, 1fr) } }
@media (max-width: 52rem) { .facts { grid-template-columns: repeat(3, minmax(0, 1fr)) } }
@media (max-width: 40rem) {
  header, main, footer { padding-left: .625rem; padding-right: .625rem }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)) }
  .legend { min-height: 2.9em; align-content: start }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem }
  .plots { grid-template-columns: minmax(0, 1fr); gap: .5rem }
  main { gap: .5rem }
  .tiles .value { font-size: 1.375rem }
  .tiles .note { font-size: .75rem }
  .tiles > div { padding: .5rem .625rem }
}
@media (prefers-reduced-motion: reduce) { main { transition: none } }
`
