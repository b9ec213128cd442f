// What the pages do by themselves: the viewer's own time beside UTC, and polls only of a page that is looked at.
(() => {
  "use strict";
  const zone = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const isUtc = new Date().getTimezoneOffset() === 0;

  function own(time) {
    const at = new Date(time.dateTime);
    if (isUtc || Number.isNaN(at.getTime())) return;
    time.title = `${day.format(at)}, ${zone.format(at)}`;
    if (time.classList.contains("brief")) return;
    const beside = document.createElement("small");
    beside.className = "own-time";
    beside.textContent = zone.format(at);
    time.append(" ", beside);
  }

  function ownTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      if (time.querySelector(".own-time") === null) own(time);
    }
  }

  const stale = document.getElementById("stale");
  let silentSince = null;

  function answered(isAnswered) {
    if (isAnswered) {
      silentSince = null;
    } else if (silentSince === null) {
      silentSince = new Date();
      stale.querySelector("span").textContent = zone.format(silentSince);
    }
    stale.hidden = silentSince === null;
  }

  document.addEventListener("htmx:before:request", (event) => {
    if (document.hidden && event.target.matches("[data-live]")) event.preventDefault();
  });
  document.addEventListener("htmx:after:request", (event) => answered(event.detail.ctx.response.status < 500));
  document.addEventListener("htmx:error", () => answered(false));
  document.addEventListener("htmx:after:swap", () => ownTimes(document));

  // On the document, for a poll may bring a form that was not there before
  document.addEventListener("submit", (event) => {
    const sure = event.target.dataset.sure;
    if (sure !== undefined && !window.confirm(sure)) event.preventDefault();
  });
  ownTimes(document);
})();
