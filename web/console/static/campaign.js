// The campaign editor: the reader's time zone, and fields that only one channel or one kind of audience has.
(() => {
  "use strict";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const two = (n) => String(n).padStart(2, "0");

  function start() {
    for (const e of document.querySelectorAll("[data-zone]")) e.value = zone;
    for (const e of document.querySelectorAll("[data-zone-name]")) e.textContent = zone;
    for (const e of document.querySelectorAll("input[type=datetime-local][data-utc]")) {
      const t = new Date(e.dataset.utc);
      if (!e.dataset.utc || isNaN(t)) continue;
      e.value = t.getFullYear() + "-" + two(t.getMonth() + 1) + "-" + two(t.getDate()) + "T" + two(t.getHours()) + ":" + two(t.getMinutes());
    }
    show();
  }

  function show() {
    const form = document.getElementById("editor");
    if (!form) return;
    const of = (name) => (form.querySelector('[name="' + name + '"]:checked') || {}).value;
    for (const [selector, shown] of [
      [".only-email", of("channel") === "email"],
      [".only-filter", of("to") !== "ids"],
      [".only-ids", of("to") === "ids"],
    ]) for (const e of form.querySelectorAll(selector)) e.hidden = !shown;
  }

  document.addEventListener("change", show);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
