// Colours of frames: by kind of code, and by change in a comparison.

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Calls back when the colour scheme changes. */
export const onSchemeChange = (callback) => dark.addEventListener("change", callback);

// Hue and saturation of each kind, and what the legend calls it.
const KINDS = {
  group: [240, 5, "process"],
  kernel: [32, 88, "kernel"],
  native: [213, 72, "native"],
  library: [238, 48, "shared library"],
  rust: [11, 74, "Rust"],
  go: [187, 66, "Go"],
  cpython: [56, 76, "Python"],
  jvm: [328, 60, "JVM"],
  v8js: [112, 42, "JavaScript"],
  unnamed: [220, 6, "no symbol"],
  broken: [0, 22, "stack cut short"],
};

// The same for people who tell few colours apart: after Okabe and Ito, with the lightness told apart as well.
const SAFE_KINDS = {
  group: [240, 5, 0],
  kernel: [41, 100, -4],
  native: [202, 77, 6],
  library: [202, 100, -14],
  rust: [27, 100, -18],
  go: [164, 100, -20],
  cpython: [56, 85, 4],
  jvm: [327, 45, -2],
  v8js: [327, 45, 10],
  unnamed: [220, 4, 4],
  broken: [0, 0, -24],
};

let safe = false;

/** Uses the colours that people who see few colours tell apart, or the usual ones; whether these are others than before. */
export function usePalette(name) {
  const before = safe;
  safe = name === "safe";
  return safe !== before;
}

/** What a kind is called. */
export const kindLabel = (kind) => KINDS[kind]?.[2] ?? kind;

/** The colour of a kind; `shade` (0 to 7) tells neighbours of one kind apart. */
export function kindColour(kind, shade = 3) {
  if (safe) {
    const [hue, saturation, light] = SAFE_KINDS[kind] ?? SAFE_KINDS.native;
    const lightness = dark.matches ? 38 + light * 0.5 : 78 + light;
    return `hsl(${hue} ${saturation * (dark.matches ? 0.6 : 1)}% ${lightness + (shade - 3) * 0.9}%)`;
  }
  const [hue, saturation] = KINDS[kind] ?? KINDS.native;
  const turn = (shade - 3) * 2.2;
  if (dark.matches) return `hsl(${hue + turn} ${saturation * 0.62}% ${(kind === "group" ? 27 : 36) + shade * 0.9}%)`;
  return `hsl(${hue + turn} ${saturation}% ${(kind === "group" ? 86 : 74) + shade * 1.1}%)`;
}

/** The colour of a change from -1 (gone) over 0 (the same) to 1 (new). */
export function changeColour(change) {
  const size = Math.min(1, Math.abs(change)) ** 0.7;
  // Orange and blue differ for everybody.
  const hue = change > 0 ? (safe ? 33 : 4) : safe ? 222 : 215;
  if (dark.matches) return `hsl(${hue} ${4 + size * 62}% ${34 + size * 10}%)`;
  return `hsl(${hue} ${6 + size * 76}% ${88 - size * 24}%)`;
}

/** The colour of a part from 0 (hardly any) to 1 (the most): the more, the further from the ground in lightness. */
export function heatColour(part) {
  const hue = safe ? 202 : 8;
  if (dark.matches) return `hsl(${hue} ${50 + part * 40}% ${20 + part * 45}%)`;
  return `hsl(${hue} ${60 + part * 30}% ${90 - part * 50}%)`;
}

/** Colours of what stands on frames and around them. */
export function inks() {
  return dark.matches
    ? { text: "#f4f4f6", ground: "#131418", edge: "#ffffff", faded: "#2a2c32", fadedText: "#6d717b", accent: "#8f8bfa", soft: "#a4a7b0", line: "#2b2d34", rest: "#4a4d57" }
    : { text: "#1a1b20", ground: "#f6f6f4", edge: "#17181c", faded: "#e6e6e2", fadedText: "#a2a4aa", accent: "#4f46e5", soft: "#5d6068", line: "#e3e3df", rest: "#c9c9cf" };
}

/** A number from 0 to 7 that is the same for the same text. */
export function shadeOf(text) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return (hash ^ (hash >>> 15)) & 7;
}
