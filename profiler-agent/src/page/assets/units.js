// Numbers as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count with thousands separated. */
export const count = (value) => whole.format(value);

/** Seconds of time that is measured. */
export function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.0995) return `${(value * 1000).toPrecision(2).replace(/\.0$/, "")} ms`;
  if (size < 9.95) return `${value.toFixed(2)} s`;
  if (size < 99.5) return `${value.toFixed(1)} s`;
  if (size < 600) return `${value.toFixed(0)} s`;
  if (size < 5400) return `${(value / 60).toFixed(1)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

/** A part of 1 as a percentage. */
export function share(part) {
  const percent = part * 100;
  const size = Math.abs(percent);
  if (size === 0) return "0 %";
  if (size < 0.01) return "< 0.01 %";
  if (size < 9.995) return `${percent.toFixed(2)} %`;
  return `${percent.toFixed(1)} %`;
}

/** CPUs in use on average. */
export function cores(value) {
  if (value === 0) return "0";
  if (value < 0.0095) return "< 0.01";
  return value < 9.95 ? value.toFixed(2) : value.toFixed(1);
}

const TYPES = {
  cpu: { name: "CPU", time: "CPU time", unit: "CPUs" },
  off_cpu: { name: "Off CPU", time: "off-CPU time", unit: "threads off CPU" },
  wall: { name: "Wall clock", time: "wall-clock time", unit: "threads" },
};

/** How a type is called: on its button, its time, and what it is per second. */
export const words = (type) => TYPES[type] ?? TYPES.cpu;

/** What is measured per second: CPUs in use, or threads that wait. */
export const rate = (type, value) => `${cores(value)} ${words(type).unit}`;

/** Bytes. */
export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let index = -1;
  do {
    value /= 1024;
    index += 1;
  } while (value >= 1024 && index < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[index]}`;
}

/** A length of time in ms, short. */
export function span(milliseconds) {
  const total = Math.round(milliseconds / 1000);
  if (total < 120) return `${total} s`;
  if (total < 7200) return `${Math.round(total / 6) / 10} min`.replace(".0", "");
  if (total < 172800) return `${Math.round(total / 360) / 10} h`.replace(".0", "");
  return `${Math.round(total / 8640) / 10} d`.replace(".0", "");
}

const two = (number) => String(number).padStart(2, "0");
const day = (time) => `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;

/** A time in ms since 1970 as a clock shows it here; with its day where that is not today. */
export function clock(milliseconds, withSeconds = true) {
  const time = new Date(milliseconds);
  const text = `${two(time.getHours())}:${two(time.getMinutes())}${withSeconds ? `:${two(time.getSeconds())}` : ""}`;
  const today = new Date();
  if (time.toDateString() === today.toDateString()) return text;
  return `${day(time)} ${text}`;
}

/** A range of times: with the day of both where they lie on different days. */
export function range(from, until) {
  const [first, last] = [new Date(from), new Date(until)];
  const [start, end] = [clock(from), clock(until)];
  if (first.toDateString() === last.toDateString()) return `${start} – ${end.slice(-8)}`;
  return `${day(first)} ${start.slice(-8)} – ${day(last)} ${end.slice(-8)}`;
}

/** The time zone that times are told in, as it is at a time in ms since 1970: UTC+02:00. */
export function zone(milliseconds) {
  const minutes = -new Date(milliseconds).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** A time in ms since 1970 to the millisecond. */
export const exactly = (milliseconds) => `${clock(milliseconds)}.${String(Math.floor(milliseconds) % 1000).padStart(3, "0")}`;

/** A length of time in ms, exactly. */
export function lapse(milliseconds) {
  const trimmed = (value, digits) => String(Number(value.toFixed(digits)));
  if (milliseconds < 1) return `${trimmed(milliseconds * 1000, 0)} µs`;
  if (milliseconds < 1000) return `${trimmed(milliseconds, milliseconds < 10 ? 2 : 0)} ms`;
  if (milliseconds < 120_000) return `${trimmed(milliseconds / 1000, 2)} s`;
  return span(milliseconds);
}
