// The little that pages need beside htmx: times in the reader's zone, live parts, errors, keys, the theme.
(() => {
  "use strict";
  const $ = (s, from = document) => from.querySelector(s);
  const all = (s, from = document) => from.querySelectorAll(s);

  // Times. The server writes UTC; here they become the reader's, with the exact time on hover.
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const near = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const far = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
  const dayMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

  function since(t) {
    const seconds = (t - Date.now()) / 1000, size = Math.abs(seconds);
    if (size < 5) return "just now";
    if (size < 60) return relative.format(Math.trunc(seconds), "second");
    if (size < 3600) return relative.format(Math.trunc(seconds / 60), "minute");
    if (size < 86400) return relative.format(Math.trunc(seconds / 3600), "hour");
    return (size < 300 * 86400 ? near : far).format(t);
  }
  function times() {
    for (const e of all("time[datetime]")) {
      const t = new Date(e.dateTime);
      if (isNaN(t)) continue;
      let text;
      if ("when" in e.dataset) text = since(t);
      else if ("day" in e.dataset) text = date.format(t);
      else if ("daymonth" in e.dataset) text = dayMonth.format(t);
      else if ("clock" in e.dataset) text = clock.format(t);
      else continue;
      if (e.textContent !== text) e.textContent = text;
      e.title = exact.format(t);
    }
  }
  setInterval(times, 10000);

  // Days and weeks that the server counts are the reader's, too: it learns the zone from a cookie.
  const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
  if (!document.cookie.split("; ").includes("zone=" + zone)) {
    document.cookie = "zone=" + zone + "; path=/; max-age=31536000; samesite=lax" + (location.protocol === "https:" ? "; secure" : "");
  }

  // Errors: beside the form that they are of, else in a corner.
  function toast(text) {
    const box = $("#toasts"), t = document.createElement("div"), close = document.createElement("button");
    t.className = "toast";
    t.setAttribute("role", "alert");
    t.append(text);
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", "Dismiss");
    close.onclick = () => t.remove();
    t.append(close);
    box.append(t);
    setTimeout(() => t.remove(), 12000);
  }
  const online = (yes) => { const o = $("#offline"); if (o) o.hidden = yes; };

  // Live parts ask only while somebody looks and is not in the middle of something in them.
  const isLive = (e) => e && e.hasAttribute("data-live");
  const busy = (e) => document.hidden || $("details.act[open], dialog[open], input:focus, textarea:focus, select:focus", e) !== null;
  document.addEventListener("htmx:config:request", (event) => {
    const ctx = event.detail.ctx, e = ctx.sourceElement;
    if (!isLive(e)) return;
    if (busy(e)) { event.preventDefault(); return; }
    ctx.request.headers["X-Live"] = "1";
    if (e.onwardTag) ctx.request.headers["If-None-Match"] = e.onwardTag;
  });
  document.addEventListener("htmx:before:response", (event) => {
    const ctx = event.detail.ctx;
    online(true);
    if (isLive(ctx.sourceElement)) ctx.sourceElement.onwardTag = ctx.response.headers.get("ETag");
  });
  document.addEventListener("htmx:response:error", (event) => {
    const ctx = event.detail.ctx;
    if (isLive(ctx.sourceElement)) { online(ctx.response.status < 500); return; }
    const plain = (ctx.response.headers.get("Content-Type") || "").startsWith("text/plain");
    const text = plain && ctx.text ? ctx.text : "That did not work (" + ctx.response.status + ").";
    const form = ctx.sourceElement.closest("form"), slot = form && $(".form-error", form);
    if (slot) slot.textContent = text; else toast(text);
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx && isLive(event.detail.ctx.sourceElement)) online(false);
    else if (event.detail.ctx) toast("The console does not answer. Your change may not have been made: look before you try again.");
  });
  document.addEventListener("htmx:after:swap", () => { times(); });

  // What somebody waits for says that it is on its way.
  const awaited = (event) => {
    const e = event.detail.ctx && event.detail.ctx.sourceElement, target = e && !isLive(e) && e.getAttribute("hx-target");
    return target ? $(target) : null;
  };
  document.addEventListener("htmx:before:request", (event) => { const t = awaited(event); if (t) t.setAttribute("aria-busy", "true"); });
  document.addEventListener("htmx:finally:request", (event) => { const t = awaited(event); if (t) t.removeAttribute("aria-busy"); });
  document.addEventListener("submit", (event) => {
    const slot = $(".form-error", event.target);
    if (slot) slot.textContent = "";
  });

  // Acts close when one looks elsewhere.
  document.addEventListener("click", (event) => {
    for (const d of all("details.act[open]")) if (!d.contains(event.target)) d.open = false;
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.matches && event.target.matches("details.act[open]")) {
      for (const d of all("details.act[open]")) if (d !== event.target) d.open = false; // one at a time, also without a mouse
      const first = $("input:not([type=hidden]), textarea, select, button", $(".pop", event.target) || event.target);
      if (first) first.focus();
    }
  }, true);

  // Keys.
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const d of all("details.act[open]")) { d.open = false; $("summary", d).focus(); }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select, [contenteditable]")) return;
    if (Date.now() - going < 1500) {
      going = 0;
      const to = $('nav a[data-key="' + CSS.escape(event.key) + '"]');
      if (to) { event.preventDefault(); to.click(); }
      return;
    }
    if (event.key === "g") { going = Date.now(); return; }
    if (event.key === "/") {
      const search = $("[data-search]");
      if (search) { event.preventDefault(); search.focus(); search.select(); } else location.href = "/businesses";
    }
    if (event.key === "?") { const d = $("#keys"); if (d && !d.open) { event.preventDefault(); d.showModal(); } }
  });

  document.addEventListener("click", (event) => {
    const b = event.target.closest("[data-do]");
    if (!b) return;
    switch (b.dataset.do) {
      case "theme": {
        const dark = document.documentElement.dataset.theme
          ? document.documentElement.dataset.theme === "dark"
          : matchMedia("(prefers-color-scheme: dark)").matches;
        const next = dark ? "light" : "dark";
        document.documentElement.dataset.theme = next;
        document.cookie = "theme=" + next + "; path=/; max-age=31536000; samesite=lax" + (location.protocol === "https:" ? "; secure" : "");
        break;
      }
      case "keys": $("#keys").showModal(); break;
      case "close": b.closest("dialog").close(); break;
      case "copy":
        if (navigator.clipboard) navigator.clipboard.writeText(b.dataset.text).then(() => { b.textContent = "Copied"; });
        break;
    }
  });

  // Forms that filter by what is chosen, without a button.
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-submit=change]");
    if (form) form.requestSubmit();
  });

  // A box that is ticked for all on the page.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-all]")) return;
    for (const box of all('input[type="checkbox"][name="' + CSS.escape(event.target.dataset.all) + '"]')) box.checked = event.target.checked;
  });

  document.addEventListener("DOMContentLoaded", () => {
    times();
    // A diagram that is wider than its place shows where the business is.
    for (const here of all(".diagrams .here")) {
      const box = here.closest(".scroll"), at = here.getBoundingClientRect(), of = box.getBoundingClientRect();
      box.scrollLeft += at.left - of.left - (of.width - at.width) / 2;
    }
    // Where the navigation is a strip, the page that one is on is in sight. Not by scrollIntoView, from which on Tab would go
    // on from there, past the link that skips the navigation.
    for (const here of all("nav a[aria-current]")) {
      const strip = here.closest("nav");
      strip.scrollLeft += here.getBoundingClientRect().left - strip.getBoundingClientRect().left - (strip.clientWidth - here.offsetWidth) / 2;
    }
  });
})();
