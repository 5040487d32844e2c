/* The schedule of a form answers while one types: in words, with its next fires, or with what is
   wrong. The server decides; nothing is known of cron here. */
(() => {
  "use strict";

  const WAIT_MS = 250;

  function follow(box) {
    const input = box.querySelector(`[name="${box.dataset.cronInput}"]`);
    const zone = input.form.querySelector("[name=timezone]");
    const words = box.querySelector("[data-cron-words]");
    const error = box.querySelector("[data-cron-error]");
    const fires = box.querySelector("[data-cron-fires]");
    let timer = 0;
    let asked = 0;

    function tell(answer) {
      words.textContent = answer.description ?? "";
      error.textContent = answer.error ?? answer.unknown ?? "";
      error.hidden = !error.textContent;
      input.setAttribute("aria-invalid", answer.error ? "true" : "false");
      fires.replaceChildren(
        ...(answer.next_runs ?? []).map((moment) => {
          const line = document.createElement("li");
          line.textContent = moment.slice(0, 16).replace("T", " ") + " " + moment.slice(19);
          return line;
        })
      );
    }

    async function ask() {
      const cron = input.value.trim();
      const number = ++asked;
      if (!cron) {
        tell({});
        return;
      }
      let told;
      try {
        const answer = await fetch(box.dataset.cronCheck, {
          method: "POST",
          headers: {
            Accept: "application/json",
            "Content-Type": "application/json",
            "X-CSRFToken": input.form.querySelector("[name=csrfmiddlewaretoken]").value,
          },
          body: JSON.stringify({ cron, timezone: zone?.value ?? "", count: 5 }),
        });
        told = await answer.json();
        if (!answer.ok) told = { error: Object.values(told).flat().join(" ") };
      } catch {
        told = { unknown: box.dataset.wordsError };
      }
      // A slow answer to an older text must not overwrite a newer one.
      if (number === asked) tell(told);
    }

    function soon() {
      window.clearTimeout(timer);
      timer = window.setTimeout(ask, WAIT_MS);
    }

    input.addEventListener("input", soon);
    zone?.addEventListener("input", soon);
    box.addEventListener("click", (event) => {
      const preset = event.target.closest("[data-cron-preset]");
      if (!preset) return;
      input.value = preset.dataset.cronPreset;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    });
    ask();
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-cron-check]").forEach(follow);
  });
})();
