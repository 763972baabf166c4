// What the page shows, in order, and what is wrong with how it shows it.
(() => {
  const [width, wrong] = [document.documentElement.clientWidth, []];
  const where = (node) => `${node.nodeName.toLowerCase()}.${node.getAttribute("class") ?? ""} "${node.textContent.slice(0, 40)}"`;

  const texts = [];
  for (const part of [document.querySelector("header"), document.getElementById("pipelines")]) {
    const walk = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const text = walk.currentNode;
      const hidden = text.parentElement.closest("[hidden]") !== null;
      // What lies between the elements of the file is no text.
      if (!hidden && text.data !== "" && !(part.nodeName === "HEADER" && text.data.trim() === "")) texts.push(text);
    }
  }

  // Nothing reaches over the edge but tables, which have a bar of their own.
  if (document.documentElement.scrollWidth > width) wrong.push(`the page is ${document.documentElement.scrollWidth} px wide, the screen ${width}`);
  for (const node of document.body.querySelectorAll("*")) {
    const box = node.getBoundingClientRect();
    if (node.closest(".scroll table") === null && (box.right > width + 0.5 || box.left < -0.5)) wrong.push(`${where(node)} reaches over the edge`);
  }

  // As legible as WCAG asks of small letters.
  const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [red, green, blue] = channels(color).map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  for (const { parentElement: node } of texts) {
    if (node.nodeName === "title") continue;
    const style = getComputedStyle(node);
    const [lighter, darker] = [luminance(node.closest("svg") ? style.fill : style.color), luminance(ground(node))].toSorted((a, b) => b - a);
    if ((lighter + 0.05) / (darker + 0.05) < 4.5) wrong.push(`${where(node)} is hard to read: ${((lighter + 0.05) / (darker + 0.05)).toFixed(2)}`);
  }

  // The heights of the charts' points, as shares of the height between the lowest and the highest line.
  const heights = (path) => {
    const grid = [...path.parentElement.querySelectorAll(".grid")].map((line) => Number(line.getAttribute("y1")));
    const [low, high] = [Math.max(...grid), Math.min(...grid)];
    const points = path.getAttribute("d").split(/[ML]/).filter(Boolean).map((point) => Number(point.split(",")[1]));
    return points.map((y) => (low - y) / (low - high));
  };

  return {
    told: window.told,
    texts: texts.map((text) => text.data),
    paths: [...document.querySelectorAll("svg path")].map(heights),
    wrong,
    width,
    scheme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
  };
})()
