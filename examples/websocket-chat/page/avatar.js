// A number from 0 to 1 for each part of a face, always the same for a name.
function numbers(name) {
  let h = 0x811c9dc5; // FNV-1a
  for (const b of new TextEncoder().encode(name)) h = Math.imul(h ^ b, 0x01000193);
  return () => {
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    h ^= h >>> 13;
    return (h >>> 0) / 2 ** 32;
  };
}

function element(name, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

/** A face that is derived from a name. */
export function avatar(name) {
  const next = numbers(name);
  const hue = Math.floor(next() * 360);
  const other = hue + 40 + Math.floor(next() * 120);
  const turn = Math.round(next() * 40 - 20);
  const x = Math.round(next() * 10 - 5), y = Math.round(next() * 6);
  const apart = 5 + next() * 3;
  const smile = 1 + next() * 4;
  const eye = (side) => element("circle", { cx: 20 + side * apart, cy: 18, r: 2, fill: "#222" });
  return element("svg", { viewBox: "0 0 40 40", class: "avatar", "aria-hidden": "true" },
    element("rect", { width: 40, height: 40, rx: 20, fill: `hsl(${hue} 70% 62%)` }),
    element("g", { transform: `rotate(${turn} 20 20)` },
      element("circle", { cx: 20 + x, cy: 21 + y, r: 15.5, fill: `hsl(${other} 75% 82%)` }),
      element("g", { transform: `translate(${x / 2} ${y / 2})` },
        eye(-1), eye(1),
        element("path", {
          d: `M15.5 24q4.5 ${smile} 9 0`, fill: "none", stroke: "#222", "stroke-width": 1.8, "stroke-linecap": "round",
        }))));
}
