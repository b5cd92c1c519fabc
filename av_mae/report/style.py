"""The looks of the pages and their little script, inlined so that a page is one file."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #ffffff; --line: #e4e4df; --grid: #ecece8; --ink: #1b1d21;
  --soft: #5d636e; --faint: #8a909b; --accent: #2459c9; --good: #10754a; --goodback: #e3f4ea;
  --warn: #8a5a00; --warnback: #fdf3dc; --bad: #a81e34; --badback: #fce6e8;
  --c0: #2459c9; --c1: #d5591d; --c2: #0f8a6a; --c3: #a63aa0; --c4: #b58900; --c5: #5b6bbf;
  --c6: #c03049; --c7: #4d7d1e; --c8: #7a5230; --c9: #0b86a8; --c10: #80838b; --c11: #d9579a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1114; --card: #17191e; --line: #2a2e36; --grid: #23272e; --ink: #e8eaee;
    --soft: #a3aab6; --faint: #7a818d; --accent: #7ea6ff; --good: #6fd3a0; --goodback: #14291f;
    --warn: #f0c46a; --warnback: #2b2413; --bad: #ff8a97; --badback: #331a1e;
    --c0: #7ea6ff; --c1: #ff9a62; --c2: #4fd0ac; --c3: #e08bdc; --c4: #e6c34a; --c5: #a9b4f5;
    --c6: #ff8095; --c7: #a3d66a; --c8: #cfa276; --c9: #5cc6e6; --c10: #b7bac2; --c11: #ff9cc9;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -.02em; margin: 4px 0 8px;
  overflow-wrap: anywhere; }
h2 { font-size: 19px; letter-spacing: -.01em; margin: 44px 0 14px; }
h3 { font-size: 15px; margin: 0; }
p { margin: 0; }
code, pre, .mono { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas,
  "DejaVu Sans Mono", monospace; font-size: 12.5px; }
.eyebrow { color: var(--accent); font-size: 12.5px; font-weight: 600; letter-spacing: .06em;
  text-transform: uppercase; }
.lead { color: var(--soft); }
.lead + .lead { margin-top: 2px; }
.chips { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 14px; }
.chip { border: 1px solid var(--line); background: var(--card); border-radius: 99px;
  padding: 2px 11px; font-size: 13px; color: var(--soft); }
.chip.good { color: var(--good); background: var(--goodback); border-color: transparent; }
.chip.warn { color: var(--warn); background: var(--warnback); border-color: transparent; }
.chip.bad { color: var(--bad); background: var(--badback); border-color: transparent; }
.bar { height: 4px; border-radius: 4px; background: var(--line); margin-top: 16px;
  overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }

.tiles { display: grid; gap: 12px; margin-top: 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 160px), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px 18px; min-width: 0; }
.tile .name { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.tile .value { font-size: 34px; line-height: 1.2; font-weight: 650; letter-spacing: -.03em;
  font-variant-numeric: tabular-nums; margin: 2px 0; }
.tile .more { color: var(--faint); font-size: 13px; font-variant-numeric: tabular-nums; }
.empty { color: var(--soft); border: 1px dashed var(--line); border-radius: 12px;
  padding: 22px 18px; text-align: center; }

.charts { display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.chart { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 18px 12px; min-width: 0; }
.chart figcaption { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: baseline;
  font-size: 13px; color: var(--soft); min-height: 22px; }
.chart figcaption > b { color: var(--ink); font-size: 14px; margin-right: auto; }
.chart.many figcaption > b { flex-basis: 100%; }
.key b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.key i { display: inline-block; width: 9px; height: 9px; border-radius: 3px; margin-right: 6px;
  background: var(--c); }
.plot { position: relative; height: 176px; margin: 12px 6px 24px 44px; touch-action: pan-y; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: hidden; }
.plot line { stroke: var(--grid); stroke-width: 1; vector-effect: non-scaling-stroke; }
.plot polyline { fill: none; stroke: var(--c); stroke-width: 1.8; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
.plot polygon { fill: var(--c); opacity: .16; }
.plot .x, .plot .y { position: absolute; color: var(--faint); font-size: 11.5px; line-height: 1;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.plot .x { top: calc(100% + 9px); transform: translateX(-50%); }
.plot .y { right: calc(100% + 9px); transform: translateY(-50%); }
.dot { position: absolute; width: 7px; height: 7px; margin: -3.5px 0 0 -3.5px; border-radius: 50%;
  background: var(--c); box-shadow: 0 0 0 2px var(--card); }
.rule { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--faint);
  pointer-events: none; }
.tip { position: absolute; z-index: 2; top: -6px; pointer-events: none; background: var(--ink);
  color: var(--page); border-radius: 8px; padding: 5px 10px; font-size: 12px; white-space: nowrap;
  font-variant-numeric: tabular-nums; box-shadow: 0 4px 14px rgb(0 0 0 / .22); }
.tip i { display: inline-block; width: 8px; height: 8px; border-radius: 3px; margin-right: 6px;
  background: var(--c); }
.note { color: var(--faint); font-size: 12.5px; margin-top: 4px; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.c8 { --c: var(--c8); } .c9 { --c: var(--c9); } .c10 { --c: var(--c10); } .c11 { --c: var(--c11); }

.columns { display: flex; align-items: stretch; gap: 1px; height: 120px; margin-top: 12px;
  border-bottom: 1px solid var(--line); }
.columns > span { flex: 1; min-width: 0; max-width: 90px; margin: 0 auto; display: flex;
  flex-direction: column; justify-content: flex-end; }
.columns > span:hover { background: var(--grid); }
.columns i { background: var(--c); min-height: 1px; }
.scale { position: relative; height: 24px; color: var(--faint); font-size: 11.5px;
  font-variant-numeric: tabular-nums; }
.scale span { position: absolute; top: 5px; transform: translateX(-50%); white-space: nowrap; }
.lying { display: flex; height: 10px; width: 100%; min-width: 120px; gap: 1px; }
.lying i { background: var(--c); min-width: 1px; border-radius: 2px; }

.scroll { overflow-x: auto; padding: 4px 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { font-size: 12.5px; font-weight: 500; color: var(--faint); text-align: left; }
th, td { padding: 9px 18px; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
tbody tr.same { border-top-color: transparent; }
td.num, th.num { text-align: right; }
td.best { font-weight: 650; color: var(--good); }
td small { color: var(--faint); font-weight: 400; font-size: 12.5px; margin-left: 8px; }
.spark { width: 96px; height: 22px; display: block; margin-left: auto; }
.spark polyline { fill: none; stroke: var(--c0); stroke-width: 1.6;
  vector-effect: non-scaling-stroke; }

.gallery { display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); }
.example > * + * { margin-top: 12px; }
.strip { border-radius: 8px; overflow: hidden; background: #181818; line-height: 0; }
.strip video, .strip img { width: 100%; height: auto; display: block; }
.thirds { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; text-align: center;
  font-size: 12.5px; color: var(--soft); margin-bottom: 4px; }
.sound { display: grid; grid-template-columns: 34px 1fr; gap: 4px 10px; align-items: center; }
.sound .kind { grid-column: 2; font-size: 12.5px; color: var(--soft); line-height: 1.2;
  display: flex; justify-content: space-between; }
.sound button { width: 34px; height: 34px; border-radius: 50%; border: 1px solid var(--line);
  background: var(--page); color: var(--ink); cursor: pointer; padding: 0; font-size: 12px; }
.sound button:hover, .sound button:focus-visible { border-color: var(--accent);
  color: var(--accent); }
.sound .wave { grid-column: 2; position: relative; border-radius: 6px; overflow: hidden;
  background: #181818; height: 56px; cursor: pointer; }
.sound .wave.still { cursor: default; }
.sound img { width: 100%; height: 100%; display: block; }
.sound .rule { background: #fff; width: 2px; }
.sounds > * + * { margin-top: 10px; }
.films { display: grid; grid-template-columns: auto 1fr; gap: 5px 10px; align-items: center;
  font-size: 12.5px; color: var(--soft); }
.films img { width: 100%; display: block; border-radius: 5px; }
.ages { display: grid; grid-template-columns: auto 1fr; gap: 10px 16px; align-items: center;
  font-variant-numeric: tabular-nums; color: var(--soft); font-size: 13px; }
.ages > div { display: grid; gap: 4px 8px; align-items: center;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); }
.ages img { width: 100%; display: block; border-radius: 6px; }
.ages .tall { height: 58px; }

details > summary { cursor: pointer; color: var(--soft); font-size: 13.5px; }
details[open] > summary { margin-bottom: 10px; }
details.card > summary { color: var(--ink); font-size: 15px; }
.facts { display: grid; grid-template-columns: minmax(110px, max-content) 1fr; gap: 7px 22px;
  margin: 0; }
.facts dt { color: var(--faint); }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.finding h3 { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: baseline; }
.finding h3 small { color: var(--soft); font-weight: 400; font-size: 13px; }
.finding.bad { border-left: 3px solid var(--bad); }
.finding.warn { border-left: 3px solid var(--warn); }
.finding ul { margin: 8px 0 0; padding-left: 18px; color: var(--soft); font-size: 13px;
  overflow-wrap: anywhere; }
.clips { display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); }
.clips .row { display: flex; border-radius: 6px 6px 0 0; overflow: hidden; background: #181818; }
.clips .row img { flex: 1; min-width: 0; height: 72px; object-fit: cover; display: block; }
.clips svg { display: block; width: 100%; height: 40px; background: #181818;
  border-radius: 0 0 6px 6px; }
.clips svg polygon { fill: #7ea6ff; }
.clips p { font-size: 12.5px; color: var(--soft); margin-top: 8px; overflow-wrap: anywhere; }
.stack > * + * { margin-top: 12px; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; }
.plain { margin: 0; padding-left: 18px; }
footer { margin-top: 48px; color: var(--faint); font-size: 13px; }
@media (max-width: 560px) {
  main { padding: 24px 14px 48px; }
  h1 { font-size: 24px; }
  .card, .chart { padding: 13px 14px; }
  th, td { padding: 8px 8px; }
  td small { display: block; margin: 0; }
  td.trend, th.trend { display: none; }
  .ages { grid-template-columns: 1fr; gap: 4px; }
  .ages > div { margin-bottom: 8px; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd + dt { margin-top: 9px; }
}
@media print { .card, .chart { break-inside: avoid; } .sound button { display: none; } }
"""

SCRIPT = """
"use strict";
const make = (tag, name, parent) => {
  const node = document.createElement(tag);
  node.className = name;
  return parent.appendChild(node);
};

// Curves: the nearest step under the pointer, and every curve's value there.
for (const plot of document.querySelectorAll(".plot")) {
  const series = JSON.parse(plot.dataset.chart);
  let marks = [];
  const clear = () => { marks.forEach(m => m.remove()); marks = []; };
  const nearest = (list, x) =>
    list.reduce((best, v, i) => Math.abs(v - x) < Math.abs(list[best] - x) ? i : best, 0);
  plot.addEventListener("pointerleave", clear);
  plot.addEventListener("pointermove", event => {
    clear();
    const box = plot.getBoundingClientRect();
    const at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const places = series.map(s => nearest(s.x, at));
    const lead = series.reduce((best, s, k) =>
      Math.abs(s.x[places[k]] - at) < Math.abs(series[best].x[places[best]] - at) ? k : best, 0);
    const x = series[lead].x[places[lead]];
    const rule = make("div", "rule", plot);
    rule.style.left = 100 * x + "%";
    const tip = make("div", "tip", plot);
    const step = series[lead].step[places[lead]];
    tip.append("step " + step.toLocaleString("en"));
    marks.push(rule, tip);
    series.forEach((s, k) => {
      const i = places[k], row = make("div", "row", tip);
      make("i", s.colour, row);
      row.append(s.label + " " + s.text[i]);
      if (s.step[i] !== step) row.append(" (at " + s.step[i].toLocaleString("en") + ")");
      const dot = make("i", "dot " + s.colour, plot);
      dot.style.left = 100 * s.x[i] + "%";
      dot.style.top = 100 * Math.min(1, Math.max(0, s.y[i])) + "%";
      marks.push(dot);
    });
    if (x > .5) tip.style.right = 100 * (1 - x) + 2 + "%"; else tip.style.left = 100 * x + 2 + "%";
  });
}

// Sound: one at a time; the line on the spectrogram is the place, a click on it goes there.
let playing = null;
for (const block of document.querySelectorAll(".sound")) {
  const audio = block.querySelector("audio"), button = block.querySelector("button");
  const wave = block.querySelector(".wave");
  if (!audio) continue;
  const rule = make("div", "rule", wave);
  rule.hidden = true;
  const show = () => {
    rule.style.left = 100 * audio.currentTime / (audio.duration || 1) + "%";
    if (!audio.paused) requestAnimationFrame(show);
  };
  const play = () => {
    if (playing && playing !== audio) playing.pause();
    playing = audio;
    audio.play();
  };
  button.addEventListener("click", () => audio.paused ? play() : audio.pause());
  wave.addEventListener("click", event => {
    const box = wave.getBoundingClientRect();
    audio.currentTime = (event.clientX - box.left) / box.width * audio.duration;
    play();
  });
  audio.addEventListener("play", () => { button.textContent = "❚❚"; rule.hidden = false; show(); });
  for (const end of ["pause", "ended"])
    audio.addEventListener(end, () => { button.textContent = "▶"; });
  audio.addEventListener("ended", () => { rule.hidden = true; });
}

// A browser that cannot play the video shows the frames instead.
for (const video of document.querySelectorAll("video"))
  video.addEventListener("error", () => {
    video.closest(".example").querySelector("details").open = true;
  });

if (matchMedia("(prefers-reduced-motion: reduce)").matches)
  for (const video of document.querySelectorAll("video")) { video.autoplay = false; video.pause(); }
"""
