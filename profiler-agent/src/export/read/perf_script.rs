//! What `perf script` prints: a line that says whose a sample is, when it was taken, how much it counts and what it
//! counts, and below it a line for each frame, leaf first, up to an empty line:
//!
//! ```text
//! w x 30339 [001]  1937.755947:   10101010 cpu-clock:
//!             1145 leaf+0xc (/tmp/w x)
//!             118f main+0x16 (/tmp/w x)
//! ```
//!
//! Without call chains the only frame stands in the sample's own line. Which fields there are depends on `-F`; what is
//! needed is a process or thread and an address. Names may hold spaces and parentheses. An inlined function has the
//! address of the one that it is part of, and `(inlined)` for a file. Lines that are none of these (source lines) are
//! left out.

mod line;

use line::{Header, Line, frame, header, single};

use super::text::{ASSUMED_NOTE, Frame, Owner, Stacks, lines};
use super::{Budget, ReadError, ReadLimits};
use crate::profile::{Profile, SamplePeriod};

/// Lines in which a text shows that it holds samples.
const TRIED_LINES: usize = 256;
/// Most inlined functions at one address.
const MAX_INLINED: usize = 1024;
/// Events whose period is CPU time in ns.
const CLOCKS: [&str; 2] = ["cpu-clock", "task-clock"];

/// Is there a sample with a frame at the beginning?
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let mut before = String::new();
    for (_, line) in lines(bytes).take(TRIED_LINES) {
        let Ok(line) = line else {
            return false;
        };
        let line = String::from_utf8_lossy(line).into_owned();
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = header(&line)
            && !header.event.is_empty()
            && single(header.rest).is_some()
        {
            return true;
        }
        let is_indented = line.starts_with([' ', '\t']);
        if is_indented && frame(&line).is_some() && header(&before).is_some() {
            return true;
        }
        before = line;
    }
    false
}

/// Reads what `perf script` printed. Of several events the first one's samples are read. Where it is a clock, the periods
/// are CPU time; the samples of other events count at an assumed rate. The notes say both.
///
/// # Errors
/// [`ReadError`].
pub(super) fn decode(
    bytes: &[u8],
    limits: &ReadLimits,
) -> Result<(Profile, Vec<String>), ReadError> {
    Budget::new("bytes", limits.bytes).take(bytes.len())?;
    let mut reader = Reader {
        stacks: Stacks::new(limits),
        open: None,
        inlined: Vec::new(),
        event: None,
        is_clock: false,
        skips: false,
        left_out: 0,
    };
    for (_, line) in lines(bytes) {
        let line = String::from_utf8_lossy(line?);
        reader.line(&line)?;
    }
    reader.end()?;
    Ok(reader.finish())
}

struct Reader {
    stacks: Stacks,
    /// The sample whose frames are being read.
    open: Option<Sample>,
    /// Functions that are inlined into the frame that comes next.
    inlined: Vec<String>,
    /// The event that is read.
    event: Option<String>,
    is_clock: bool,
    /// Are the frames that are being read those of another event?
    skips: bool,
    /// Samples of other events.
    left_out: u64,
}

struct Sample {
    comm: String,
    pid: u32,
    tid: u32,
    time: Option<u64>,
    period: Option<u64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), ReadError> {
        if line.trim().is_empty() {
            return self.end();
        }
        if line.starts_with('#') {
            return Ok(());
        }
        let header = header(line);
        let begins = |header: &Header<'_>| {
            let is_told = header.time.is_some() || single(header.rest).is_some();
            !header.event.is_empty() && is_told
        };
        let is_indented = line.starts_with([' ', '\t']);
        // Samples without call chains follow each other without an empty line, and may be indented.
        if (self.open.is_some() || self.skips)
            && is_indented
            && !header.as_ref().is_some_and(begins)
        {
            return match frame(line) {
                Some(frame) if self.open.is_some() => self.frame(frame),
                _ => Ok(()),
            };
        }
        let Some(header) = header else {
            return Ok(());
        };
        self.end()?;
        match &self.event {
            None => {
                self.event = Some(header.event.to_owned());
                self.is_clock = CLOCKS.contains(&header.event.split(':').next().unwrap_or(""));
                if let Some(period) = header.period.filter(|_| self.is_clock) {
                    self.stacks
                        .set_period(SamplePeriod::from_nanoseconds(period.max(1)));
                }
            }
            Some(event) if event != header.event => {
                self.left_out += 1;
                self.skips = true;
                return Ok(());
            }
            Some(_) => {}
        }
        self.open = Some(Sample {
            comm: header.owner.comm.to_owned(),
            pid: header.owner.pid,
            tid: header.owner.tid,
            time: header.time,
            period: header.period,
        });
        match single(header.rest) {
            Some(frame) => self.frame(frame),
            None => Ok(()),
        }
    }

    fn frame(&mut self, line: Line<'_>) -> Result<(), ReadError> {
        if line.file == "inlined" {
            if self.inlined.len() >= MAX_INLINED {
                return Err(ReadError::TooLarge {
                    what: "inlined functions at one address",
                    limit: MAX_INLINED,
                });
            }
            self.inlined.push(line.name.to_owned());
            return Ok(());
        }
        let mut names: Vec<&str> = self.inlined.iter().map(String::as_str).collect();
        names.push(line.name);
        let file = match line.file {
            "[unknown]" => "",
            file if file.starts_with("[kernel.") => "[kernel]",
            file => file,
        };
        self.stacks.frame(Frame {
            names: &names,
            file,
            address: line.address,
            is_kernel: line.address >> 63 == 1 && !file.is_empty(),
        })?;
        self.inlined.clear();
        Ok(())
    }

    /// Ends the sample that is open.
    fn end(&mut self) -> Result<(), ReadError> {
        self.skips = false;
        let Some(sample) = self.open.take() else {
            return Ok(());
        };
        let inlined = std::mem::take(&mut self.inlined);
        if !inlined.is_empty() {
            let names: Vec<&str> = inlined.iter().map(String::as_str).collect();
            self.stacks.frame(Frame {
                names: &names,
                file: "",
                address: 0,
                is_kernel: false,
            })?;
        }
        let owner = Owner {
            comm: &sample.comm,
            pid: sample.pid,
            tid: sample.tid,
        };
        let value = match sample.period {
            Some(period) if self.is_clock => period,
            _ => self.stacks.period(),
        };
        self.stacks.sample(owner, (1, value), sample.time)
    }

    fn finish(self) -> (Profile, Vec<String>) {
        let mut notes = Vec::new();
        if !self.is_clock {
            notes.push(ASSUMED_NOTE.to_owned());
        }
        if self.left_out > 0 {
            notes.push(format!(
                "samples of `{}` are shown, {} of other events are not",
                self.event.unwrap_or_default(),
                self.left_out
            ));
        }
        (self.stacks.finish(), notes)
    }
}
