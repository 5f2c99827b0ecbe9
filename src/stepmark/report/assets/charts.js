// Replaces each still chart by a live one: hover for figures, switch lines off and on.
const phone = matchMedia("(max-width: 40rem)");
for (const figure of document.querySelectorAll("figure")) {
  const text = figure.querySelector("script").textContent;
  const place = figure.querySelector(".chart");
  const buttons = [...figure.querySelectorAll(".key button")];
  const hidden = () => buttons.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.dataset.series);
  let view;
  const draw = async () => {
    const spec = JSON.parse(text);
    if (phone.matches && buttons.length) {
      // the names beside the lines have no room: the buttons are the legend
      for (const one of spec.params) if (one.name === "labels") one.value = false;
    }
    view?.finalize();
    place.classList.add("live");
    const options = { mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
    ({ view } = await vegaEmbed(place, spec, options));
    if (buttons.length) await view.signal("hidden", hidden()).runAsync();
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") === "true" ? "false" : "true");
      view?.signal("hidden", hidden()).run();
    });
  }
  figure.querySelector(".key")?.removeAttribute("hidden");
  phone.addEventListener("change", draw);
  draw();
}
