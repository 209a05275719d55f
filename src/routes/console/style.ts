/**
 * Owns the console's one stylesheet, and the path that changes with it, so that browsers may keep it for good. Fonts are the
 * system's; nothing is fetched from anywhere else.
 */
import { sha256Hex } from '../../crypto.ts'

export const stylesheet = `
:root {
  color-scheme: light dark;
  --ground: #f6f7f8; --surface: #fff; --text: #1a1d23; --muted: #565d6b; --line: #d9dde3; --accent: #1a56c4;
  --good: #14623a; --good-ground: #e3f4ea; --bad: #a11d17; --bad-ground: #fdeae8; --doubt: #744800;
  --doubt-ground: #fdf0d3; --plain: #454b57; --plain-ground: #eaedf0;
  --bar-good: #5f9f7c; --bar-bad: #d0433b; --bar-doubt: #d79a21; --bar-plain: #a9b0bc;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131519; --surface: #1b1e24; --text: #e6e8ed; --muted: #a3aab7; --line: #323843; --accent: #8fb5ff;
    --good: #8adcab; --good-ground: #17301f; --bad: #ffa39b; --bad-ground: #3d1b19; --doubt: #f3c970;
    --doubt-ground: #35290f; --plain: #c5cad4; --plain-ground: #2b3038;
    --bar-good: #4f9a70; --bar-bad: #e0645c; --bar-doubt: #d9a53a; --bar-plain: #6d7583;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
a { color: var(--accent); text-underline-offset: .15em; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--surface); padding: .5rem 1rem; z-index: 1; }
.top { background: var(--surface); border-bottom: 1px solid var(--line); }
.top > div, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.5rem; }
.top > div { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1.5rem; min-height: 3.5rem; padding-top: .5rem; padding-bottom: .5rem; }
.brand { font-weight: 650; color: inherit; text-decoration: none; }
.who { margin-left: auto; display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; color: var(--muted); }
.who form { margin: 0; }
main { padding-top: 1.5rem; padding-bottom: 3rem; }
footer { padding-bottom: 2rem; color: var(--muted); font-size: .875rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.125rem; line-height: 1.3; margin: 0 0 1rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: 0 0 .75rem; max-width: 46rem; }
.crumbs, .tabs { list-style: none; display: flex; flex-wrap: wrap; margin: 0 0 .75rem; padding: 0; gap: .25rem .5rem; }
.crumbs { font-size: .875rem; color: var(--muted); }
.crumbs li + li::before { content: "/"; margin-right: .5rem; color: var(--muted); }
.tabs { border-bottom: 1px solid var(--line); gap: 0 1.5rem; margin-bottom: 1.5rem; }
.tabs a { display: block; padding: .5rem 0; color: var(--muted); text-decoration: none; border-bottom: 2px solid transparent; }
.tabs a:hover { color: var(--text); }
.tabs a[aria-current] { color: var(--text); font-weight: 600; border-color: var(--accent); }
.card {
  background: var(--surface); border: 1px solid var(--line); border-radius: 8px; padding: 1.25rem 1.5rem;
  margin-bottom: 1.5rem;
}
.card > :last-child { margin-bottom: 0; }
h1.id { font-size: 1.375rem; letter-spacing: -.01em; }
.lines > * { display: block; }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .75rem; margin-bottom: 1rem; }
.title h1, .title h2 { margin: 0; }
.muted { color: var(--muted); }
.small { font-size: .875rem; }
.nowrap { white-space: nowrap; }
code, pre, .id { font-family: var(--mono); font-size: .875em; overflow-wrap: anywhere; }
pre {
  background: var(--ground); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; margin: 0 0 .75rem;
  white-space: pre-wrap;
}
.chip {
  display: inline-block; padding: .0625rem .5625rem; border-radius: 99px; font-size: .8125rem; font-weight: 600;
  line-height: 1.5; white-space: nowrap; color: var(--plain); background: var(--plain-ground);
}
.chip.good { color: var(--good); background: var(--good-ground); }
.chip.bad { color: var(--bad); background: var(--bad-ground); }
.chip.doubt { color: var(--doubt); background: var(--doubt-ground); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem 1.5rem; margin: 0 0 1rem; }
.facts dt { color: var(--muted); font-size: .8125rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.todo { border-left: 3px solid var(--bar-plain); padding: .125rem 0 .125rem 1rem; margin-bottom: 1rem; }
.todo.bad { border-color: var(--bar-bad); }
.todo.doubt { border-color: var(--bar-doubt); }
.todo.good { border-color: var(--bar-good); }
.todo > :last-child { margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--muted); font-size: .875rem; padding-bottom: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem 1rem .5rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-size: .8125rem; font-weight: 500; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th { font-weight: 400; font-size: 1rem; color: inherit; white-space: normal; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; }
td { overflow-wrap: anywhere; }
@media (min-width: 46.01rem) { .scope { min-width: 11.5rem; } .whole { white-space: nowrap; } }
.diff del { color: var(--bad); background: var(--bad-ground); text-decoration: none; }
.diff ins { color: var(--good); background: var(--good-ground); text-decoration: none; }
.diff del, .diff ins { display: inline-block; padding: .125rem .5rem; border-radius: 4px; white-space: pre-wrap; }
.diff del::before { content: "\\2212\\a0"; }
.diff ins::before { content: "+\\a0"; }
.steps { list-style: none; margin: 0; padding: 0; }
.steps li { border-left: 2px solid var(--line); padding: 0 0 1rem 1.25rem; }
.steps li:last-child { padding-bottom: 0; }
.steps li.here { border-color: var(--accent); }
.chart { display: block; width: 100%; height: 9rem; border-bottom: 1px solid var(--muted); }
rect.good { fill: var(--bar-good); }
rect.bad { fill: var(--bar-bad); }
rect.doubt { fill: var(--bar-doubt); }
rect.plain { fill: var(--bar-plain); }
rect.hour { fill: transparent; }
.chart a:hover rect.hour { fill: var(--muted); fill-opacity: .15; }
.hours { display: grid; grid-template-columns: repeat(4, 1fr); color: var(--muted); font-size: .8125rem; padding-top: .25rem; margin: 0 0 .75rem; max-width: none; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 1rem; padding: 0; font-size: .875rem; }
.legend svg { width: .75rem; height: .75rem; margin-right: .375rem; }
summary { cursor: pointer; color: var(--accent); }
details > :nth-child(2) { margin-top: .75rem; }
.filters { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem 1rem; align-items: end; margin: 0 0 1rem; }
label { display: block; font-size: .8125rem; color: var(--muted); margin-bottom: .25rem; }
input, select, button {
  font: inherit; color: var(--text); background: var(--surface); border: 1px solid var(--muted); border-radius: 6px;
  padding: .4375rem .625rem; width: 100%; min-height: 2.5rem;
}
button { width: auto; cursor: pointer; padding: .4375rem 1rem; font-weight: 550; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--surface); }
button.quiet { border-color: var(--line); font-weight: 400; padding: .1875rem .75rem; min-height: 2rem; font-size: .875rem; }
.actions { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; }
.quick { margin: 0 0 1.25rem; max-width: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .875rem; }
.quick a[aria-current] { color: var(--text); font-weight: 600; text-decoration: none; }
.pages { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; margin: 1rem 0 0; }
.notice { border: 1px solid var(--bar-bad); background: var(--bad-ground); color: var(--bad); border-radius: 6px; padding: .75rem 1rem; margin: 0 0 1rem; max-width: none; }
.empty { color: var(--muted); padding: 1rem 0; margin: 0; }
.narrow { max-width: 27rem; margin: 8vh auto 0; }
.narrow .card { padding: 2rem; }
.narrow button, .narrow .field { margin-bottom: 1rem; }
.narrow button { width: 100%; }
@media (max-width: 46rem) {
  .top > div, main, footer { padding-left: 1rem; padding-right: 1rem; }
  .card { padding: 1rem; }
  .stack thead { position: absolute; left: -99rem; }
  .stack, .stack tbody, .stack tr, .stack td, .stack tbody th { display: block; }
  .stack tr { padding: .75rem 0; border-bottom: 1px solid var(--line); }
  .stack tbody tr:last-child { border-bottom: 0; padding-bottom: 0; }
  .stack td, .stack tbody th { border: 0; padding: .0625rem 0; }
  .stack td:empty { display: none; }
  .stack td[data-label]::before { content: attr(data-label) ": "; color: var(--muted); font-size: .8125rem; }
  .number { text-align: left; }
  .flow tr { display: flex; flex-wrap: wrap; gap: 0 1rem; }
  .flow td:first-child { flex: 1 0 60%; color: var(--muted); }
  .flow td.number { order: -1; }
  .flow td:first-child { order: -2; }
}
@media print { .top, .filters, .quick, .pages { display: none; } }
`

/** Where it is served: a new one has a new path. */
export function stylesheetPath(): string {
  path ??= `/style.${sha256Hex(stylesheet).slice(0, 16)}.css`
  return path
}

let path: string | undefined
