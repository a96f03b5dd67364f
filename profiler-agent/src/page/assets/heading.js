// What is said above the profile: of what it is, when, and how much.

import { short } from "./trace.js";
import { count, exactly, lapse, range, rate, seconds, share, words, zone } from "./units.js";

const SEPARATOR = "  ·  ";

/** Fills title and subtitle; `trace` is the answer of /api/trace where one is looked at, `services` that of /api/services. */
export function showHeading({ title, subtitle }, { state, live, services, trace, from, until }) {
  if (trace) {
    title.textContent = traceTitle(state);
    subtitle.textContent = trace.samples === 0 ? "" : traceParts(state, trace).join(SEPARATOR);
    document.title = `${state.span_id === undefined ? `Trace ${short(state.trace_id)}` : `Span ${state.span_id}`} – Profiler`;
    return;
  }
  const found = services?.services.find((service) => service.name === state.service);
  const process = found?.processes.find((candidate) => candidate.pid === state.pid);
  const name = state.service ?? (state.pid === undefined ? "Everything" : `Process ${state.pid}`);
  title.textContent = process ? `${name} · ${process.pid} ${process.comm}` : name;
  document.title = `${title.textContent} – Profiler`;
  const samples = process?.samples ?? found?.samples ?? (state.service === undefined && state.pid === undefined ? services?.samples : 0) ?? 0;
  const time = (samples * (services?.period_ns ?? 0)) / 1e9;
  const parts = [`${range(from, until)} ${zone(until)}`, `${seconds(time)} of ${words(services?.type).time}`];
  if (live) parts.push(rate(services?.type, time / (services?.window_seconds || 1)));
  if (found) parts.push(`${share(samples / (services.samples || 1))} of ${state.label ? "all that has these labels" : "everything"}`);
  if (found && !process && found.process_count > 1) parts.push(`${count(found.process_count)} processes`);
  subtitle.textContent = parts.join(SEPARATOR);
}

function traceTitle({ trace_id, span_id, service }) {
  const name = span_id === undefined ? `Trace ${trace_id}` : `Span ${span_id}`;
  return service === undefined ? name : `${name} · ${service}`;
}

function traceParts({ trace_id, span_id }, trace) {
  const many = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;
  const parts = [trace.times.length > 0 ? `${exactly(trace.from)}, ${lapse(trace.until - trace.from)}` : range(trace.from, trace.until)];
  const times = [`${seconds(trace.cpu_ns / 1e9)} of CPU time`];
  if (trace.off_cpu_ns > 0) times.push(`${seconds(trace.off_cpu_ns / 1e9)} off CPU`);
  parts.push(`${many(trace.samples, "sample")}, ${times.join(", ")}`, many(trace.services.length, "service"), many(trace.spans.length, "span"));
  if (span_id !== undefined && trace_id !== undefined) parts.unshift(`of trace ${short(trace_id)}`);
  return parts;
}
