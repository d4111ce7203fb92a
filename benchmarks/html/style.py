"""The style of the page: light, dark, narrow and on paper."""

CSS = """
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --ink: #1b1f24; --dim: #59626d; --line: #cdd3da;
  --good: #1a7f37; --warn: #9a5b00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --card: #1d2228; --ink: #e6e9ed; --dim: #9aa4af; --line: #39414b;
    --good: #4cc26b; --warn: #f0a93b; --bad: #ff7a70; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 0 1rem 3rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 1rem 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, ul { margin: .4rem 0; }
ul { padding-left: 1.2rem; }
.dim, caption, figcaption, .detail { color: var(--dim); font-size: .875rem; }
.detail { display: block; }
.verdict, .problems, .warning { background: var(--card); border: 1px solid var(--line);
  border-left: .4rem solid var(--dim); border-radius: .3rem; padding: .6rem .9rem; margin: .8rem 0; }
.verdict strong { font-size: 1.3rem; }
.verdict.good { border-left-color: var(--good); }
.verdict.bad { border-left-color: var(--bad); }
.problems, .warning { border-left-color: var(--warn); }
.mark { font-weight: 700; overflow-wrap: break-word; }
.mark.good { color: var(--good); }
.mark.bad { color: var(--bad); }
.mark.open { color: var(--warn); }
dl { display: grid; grid-template-columns: minmax(6rem, 14rem) minmax(0, 1fr); gap: .1rem .8rem; margin: .3rem 0; }
dt { color: var(--dim); }
dd { margin: 0; min-width: 0; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; font-size: .9rem; }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
thead th { overflow-wrap: normal; }
thead th.long { overflow-wrap: anywhere; }
tbody th { font-weight: 600; }
figure { margin: .6rem 0 1rem; padding: .5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .3rem; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt; }
details { margin: .4rem 0; }
summary { cursor: pointer; font-weight: 600; }
details dl { padding-left: 1rem; }
@media (max-width: 800px) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, caption { display: block; }
  tr { border: 1px solid var(--line); border-radius: .3rem; background: var(--card); margin: .5rem 0;
    padding: .4rem .7rem; }
  tbody th, td { display: grid; grid-template-columns: minmax(5rem, 9rem) minmax(0, 1fr); gap: .7rem; border: 0;
    padding: .1rem 0; }
  td:empty { display: none; }
  tbody th::before, td::before { content: attr(data-label); color: var(--dim); font-weight: normal; }
}
@media print {
  :root { color-scheme: light; --ground: #fff; --card: #fff; --ink: #000; --dim: #444; --line: #999;
    --good: #1a7f37; --warn: #9a5b00; --bad: #b3261e; }
  body { max-width: none; font-size: 10pt; }
  figure, tr, .verdict, .problems { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
