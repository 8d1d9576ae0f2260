// The console works without this. With it, what is marked data-live is renewed every two seconds, and "/" goes to the
// search field. No library, no markup made from strings but the page's own, which comes from the same origin.
"use strict";

(() => {
  const EVERY = 2000; // milliseconds; the server takes no new look sooner
  const LONGEST = 30000; // between attempts while the console does not answer

  // Trusted Types: the page's own HTML, fetched again, is all that is ever parsed.
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("console", { createHTML: (text) => text })
    : { createHTML: (text) => text };

  const kept = (name, usual) => {
    try {
      return window.localStorage.getItem(name) ?? usual;
    } catch {
      return usual; // storage may be switched off
    }
  };
  const keep = (name, value) => {
    try {
      window.localStorage.setItem(name, value);
    } catch {
      // then it is forgotten with the page
    }
  };

  live();
  slash();

  function live() {
    const bar = document.getElementById("live");
    if (!bar || !document.querySelector("[data-live]")) return;
    const says = document.getElementById("live-says");
    const button = document.getElementById("live-button");
    let paused = kept("paused", "no") === "yes";
    let tag = null;
    let timer = 0;
    let failures = 0;

    const say = (text, bad) => {
      if (says.textContent !== text) says.textContent = text;
      bar.classList.toggle("bad", bad);
    };
    const plan = () => {
      window.clearTimeout(timer);
      if (!paused && !document.hidden) timer = window.setTimeout(look, Math.min(LONGEST, EVERY * 2 ** failures));
    };
    const show = () => {
      button.textContent = paused ? "Go on" : "Pause";
      if (!failures) say(paused ? "Paused" : "Live", false);
    };

    async function look() {
      try {
        const headers = { Accept: "text/html" };
        if (tag) headers["If-None-Match"] = tag;
        const answer = await window.fetch(window.location.href, { headers, redirect: "error", cache: "no-store" });
        if (answer.status === 200) {
          tag = answer.headers.get("ETag");
          renew(new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html"));
        } else if (answer.status !== 304) {
          throw new Error(answer.status === 401 ? "This browser is not known any more" : "Not renewed");
        }
        failures = 0;
        show();
      } catch (error) {
        if (!failures) {
          const since = new Date().toLocaleTimeString();
          say(`${error instanceof TypeError ? "The console does not answer" : error.message}, since ${since}`, true);
        }
        failures = Math.min(failures + 1, 4);
      }
      plan();
    }

    function renew(fresh) {
      const regions = [...document.querySelectorAll("[data-live]")];
      if (!regions.some((each) => fresh.getElementById(each.id))) window.location.reload(); // the error is over
      for (const region of regions) {
        const next = fresh.getElementById(region.id);
        if (!next || region.isEqualNode(next) || region.contains(document.activeElement)) continue;
        const places = [...region.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
        const open = [...region.querySelectorAll("details[open][id]")].map((each) => each.id);
        region.hidden = next.hidden;
        region.replaceChildren(...[...next.childNodes].map((each) => document.adoptNode(each)));
        region.querySelectorAll(".scroll").forEach((each, n) => (each.scrollLeft = places[n] ?? 0));
        for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      }
    }

    button.addEventListener("click", () => {
      paused = !paused;
      keep("paused", paused ? "yes" : "no");
      show();
      plan();
    });
    document.addEventListener("visibilitychange", () => (document.hidden ? plan() : !paused && look()));
    bar.hidden = false;
    show();
    plan();
  }

  function slash() {
    const field = document.getElementById("q");
    const choice = document.getElementById("slash");
    if (!field || !choice) return;
    choice.checked = kept("slash", "on") === "on";
    choice.addEventListener("change", () => keep("slash", choice.checked ? "on" : "off"));
    choice.closest("[hidden]").hidden = false;
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, textarea, select, [contenteditable]");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || !choice.checked) return;
      event.preventDefault();
      field.focus();
    });
  }
})();
