// The chart of the overview: the last ten minutes from /live, of which only what is new is asked for.
(() => {
  "use strict";
  const box = document.getElementById("chart");
  const KEPT = 600_000; // ms, and at most so many points as the console keeps
  const EVERY = 2000; // ms
  const MINUTES = [1, 2, 5].map((minutes) => minutes * 60_000); // ms, between two labels
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let data = [[], [], []];
  let chart = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function line(label, name, more) {
    return { label, stroke: colour(name), width: 2, spanGaps: false, points: { show: false }, ...more };
  }

  function options() {
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    return {
      width: box.clientWidth,
      height: 200,
      ms: 1,
      tzDate: (ms) => uPlot.tzDate(new Date(ms), "Etc/UTC"),
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: true, range: (_, __, last) => [last - KEPT, last] }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [{ ...axis, values: "{HH}:{mm}", incrs: MINUTES }, { ...axis, size: 44 }],
      series: [
        { label: "UTC", value: "{HH}:{mm}:{ss}" },
        line("placed", "--good", { fill: colour("--good-ground") }),
        line("failed", "--bad", { dash: [6, 3] }),
      ],
    };
  }

  function draw() {
    if (chart !== null) chart.destroy();
    chart = new uPlot(options(), data, box);
  }

  async function more() {
    if (document.hidden) return;
    const after = data[0].at(-1) ?? 0;
    const answer = await fetch(`${box.dataset.url}?after=${after}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const { at, placed, failed } = await answer.json();
    data = [data[0].concat(at), data[1].concat(placed), data[2].concat(failed)];
    const first = data[0].findIndex((ms) => ms > (data[0].at(-1) ?? 0) - KEPT);
    data = data.map((column) => column.slice(Math.max(first, 0)));
    if (chart === null) draw();
    else chart.setData(data);
  }

  const poll = () => more().catch(() => undefined); // what does not answer is told by the page itself
  poll();
  setInterval(poll, EVERY);
  dark.addEventListener("change", draw);
  window.addEventListener("resize", () => chart?.setSize({ width: box.clientWidth, height: 200 }));
})();
