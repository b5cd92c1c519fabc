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
      make("bdi", "", row).textContent = s.label;
      row.append(" " + s.text[i]);
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

// The player's controls would cover the pictures: they are shown to whoever points at them.
for (const video of document.querySelectorAll("video")) {
  video.controls = false;
  video.tabIndex = 0;
  for (const [event, shown] of Object.entries(
    {pointerenter: true, focus: true, pointerleave: false, blur: false}))
    video.addEventListener(event, () => { video.controls = shown; });
}

// A browser that cannot play the video shows the frames instead.
for (const video of document.querySelectorAll("video"))
  video.addEventListener("error", () => {
    video.closest(".example").querySelector("details").open = true;
  });

if (matchMedia("(prefers-reduced-motion: reduce)").matches)
  for (const video of document.querySelectorAll("video")) { video.autoplay = false; video.pause(); }
