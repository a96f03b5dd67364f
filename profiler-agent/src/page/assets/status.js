// The strip that says how the agent itself is doing.

import { element } from "./tip.js";
import { bytes, count, seconds, share, span } from "./units.js";

const words = (name) => name.replaceAll("_", " ");

/** Shows the agent's numbers. */
export function showStatus({ strip, dot, line, panel }, status) {
  const { agent } = status;
  strip.hidden = !agent;
  if (!agent) return;
  const unwound = agent.stacks > 0 ? agent.complete_stacks / agent.stacks : null;
  const taken = agent.samples + agent.lost_samples;
  const lost = taken > 0 ? agent.lost_samples / taken : 0;
  dot.className = `dot${lost > 0.05 || (unwound !== null && unwound < 0.8) ? " bad" : lost > 0.005 || (unwound !== null && unwound < 0.97) ? " warn" : ""}`;
  const parts = [];
  if (agent.cpu_share !== null) parts.push(["", `Agent ${share(agent.cpu_share)} of a CPU`]);
  parts.push(["wide", bytes(agent.resident_bytes)]);
  if (unwound !== null) parts.push(["wide", `${share(unwound)} to the root`]);
  parts.push(["wide", agent.lost_samples > 0 ? `${count(agent.lost_samples)} samples lost` : "nothing lost"]);
  line.replaceChildren();
  parts.forEach(([kind, text], index) => element("span", { text: index === 0 ? text : ` · ${text}`, kind, parent: line }));
  panel.replaceChildren();
  const list = (pairs) => {
    const made = element("dl", { parent: panel });
    for (const [name, value] of pairs) {
      element("dt", { text: name, parent: made });
      element("dd", { text: value, parent: made });
    }
  };
  list([
    ["Version", agent.version],
    ["Running for", span(status.now - agent.started_ms)],
    ["CPU time of its own", seconds(agent.cpu_seconds)],
    ["Resident memory", bytes(agent.resident_bytes)],
    ["Samples", count(agent.samples)],
    ["Stacks to the root", unwound === null ? "none yet" : share(unwound)],
  ]);
  element("h3", { text: "Lost or degraded", parent: panel });
  const losses = Object.entries(agent.losses);
  list(losses.length > 0 ? losses.map(([cause, number]) => [words(cause), count(number)]) : [["nothing", "0"]]);
  if (!agent.store) return;
  element("h3", { text: "Local store", parent: panel });
  list([
    ["Windows", count(agent.store.windows)],
    ["Used", `${bytes(agent.store.used_bytes)} of ${bytes(agent.store.max_bytes)}`],
    ...agent.store.set_aside.map((reason) => ["Set aside", reason]),
  ]);
}
