/* Makes the words and lines of every chart readable on the page's own paper, light or dark.
 *
 * A chart brings its colours with it and the page has two papers. A word needs a contrast of 4.5 with what it
 * stands on, a line or a dot 3 (WCAG 2). Where a colour falls short it is shown darker on light paper and lighter
 * on dark, by a rule of style, so that the charts themselves, what they compute and what they save stay as they are.
 * Black and white are left alone: they were chosen for the cell of a heat map that they stand on.
 */
(() => {
  "use strict";

  const KINDS = [
    { least: 4.5, inside: ".role-mark", shape: "text", properties: ["fill"] },
    {
      least: 3,
      inside: ":is(.mark-line, .mark-rule, .mark-symbol):is(.role-mark, .role-legend-symbol)",
      shape: ":is(path, line)",
      properties: ["fill", "stroke"],
    },
  ];
  const SPARE = 0.1; // of contrast, for rounding
  const STEPS = 50; // from a colour to black or white

  function parse(colour) {
    const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
    if (hex) return hex.slice(1).map((digits) => parseInt(digits, 16));
    const parts = /^rgba?\(([^)]*)\)$/.exec(colour);
    const numbers = parts ? parts[1].split(/[\s,/]+/).map(Number) : [];
    return numbers.length === 3 || numbers[3] > 0.99 ? numbers.slice(0, 3) : null;
  }

  function light(colour) {
    const linear = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  }

  function contrast(one, other) {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }

  function isBlackOrWhite(colour) {
    const grey = Math.max(...colour) - Math.min(...colour) < 8;
    return grey && (light(colour) < 0.02 || light(colour) > 0.8);
  }

  /** The nearest colour, on the way to black or white, that stands out from `paper`; null where none is needed. */
  function readable(colour, paper, least) {
    if (isBlackOrWhite(colour) || contrast(colour, paper) >= least) return null;
    const end = light(paper) > 0.2 ? 0 : 255;
    for (let step = 1; step <= STEPS; step++) {
      const mixed = colour.map((v) => Math.round(v + ((end - v) * step) / STEPS));
      if (contrast(mixed, paper) >= least + SPARE) return `rgb(${mixed.join(" ")})`;
    }
    return null;
  }

  /** The colour behind the charts: that of the nearest element around them that has one. */
  function paper() {
    for (let at = document.querySelector(".gw-chart"); at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found) return found;
    }
    return [255, 255, 255];
  }

  /** Every colour of a kind as it is written: those drawn, and those that a slider may yet bring. */
  function written({ inside, shape, properties }) {
    const colours = new Set();
    document.querySelectorAll(`.gw-stage svg.marks ${inside} ${shape}`).forEach((mark) => {
      properties.forEach((property) => colours.add(mark.getAttribute(property)));
    });
    document.querySelectorAll("script.gw-spec").forEach((spec) => {
      (spec.textContent.match(/#[0-9a-f]{6}\b/gi) || []).forEach((colour) => colours.add(colour));
    });
    return [...colours].filter((colour) => colour && parse(colour));
  }

  function rules(kind, behind) {
    return written(kind).flatMap((colour) => {
      const shown = readable(parse(colour), behind, kind.least);
      if (!shown) return [];
      const place = (property) => `.gw-stage svg.marks ${kind.inside} ${kind.shape}[${property}="${colour}"]`;
      return kind.properties.map((property) => `${place(property)} { ${property}: ${shown}; }`);
    });
  }

  const sheet = document.createElement("style");
  document.head.append(sheet);

  function apply() {
    const behind = paper();
    sheet.textContent = KINDS.flatMap((kind) => rules(kind, behind)).join("\n");
  }

  document.addEventListener("geowall:drawn", apply);
  new MutationObserver(apply).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
