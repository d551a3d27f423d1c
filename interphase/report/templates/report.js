"use strict";
(() => {
  const search = document.getElementById("search");
  const boxes = [...document.querySelectorAll("input[name=assessment]")];
  const rows = [...document.querySelectorAll("table.files tbody tr")].map((row) => {
    const card = document.getElementById(row.dataset.card);
    const said = card.querySelector(".says").textContent;
    return { row, card, text: (row.textContent + " " + said).toLowerCase() };
  });
  const shown = document.getElementById("shown");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let count = 0;
    for (const { row, card, text } of rows) {
      const keep = wanted.has(row.dataset.assessment) && words.every((word) => text.includes(word));
      row.hidden = card.hidden = !keep;
      count += keep;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
  };
  search.addEventListener("input", filter);
  boxes.forEach((box) => box.addEventListener("change", filter));
  for (const card of document.querySelectorAll(".card")) {
    const light = (region, on) => {
      for (const part of card.querySelectorAll(`[data-region="${region}"]`)) {
        part.classList.toggle("lit", on);
      }
    };
    for (const part of card.querySelectorAll("[data-region]")) {
      part.addEventListener("mouseenter", () => light(part.dataset.region, true));
      part.addEventListener("mouseleave", () => light(part.dataset.region, false));
    }
  }
})();
