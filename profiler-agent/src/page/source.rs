//! Where the page's profiles come from: the live store, or saved files.

use std::sync::Arc;

use crate::profile::{
    ArchiveError, ArchivedWindow, LinkFilter, MergedSpan, Profile, ProfileKind, UnixTime,
    WindowArchive, WindowId, WindowSummary,
};

/// Decodes the bytes that an archive holds.
pub type Decode = dyn Fn(&[u8]) -> Result<Profile, ArchiveError> + Send + Sync;

/// Windows with their profiles.
pub trait Source: Send + Sync {
    /// Do new windows keep coming?
    fn live(&self) -> bool;
    /// From the earliest start to the latest end; `None` when there is nothing.
    ///
    /// # Errors
    /// The source could not be read.
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError>;
    /// The kinds of the windows, in order; CPU time where nothing else is measured.
    ///
    /// # Errors
    /// The source could not be read.
    fn kinds(&self) -> Result<Vec<ProfileKind>, ArchiveError> {
        Ok(vec![ProfileKind::OnCpu])
    }
    /// Visits the windows that overlap `from .. until` by time of start. Those that are damaged are left out and
    /// returned.
    ///
    /// # Errors
    /// The source could not be read.
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError>;
    /// Visits the windows that overlap `from .. until` and may hold samples of the request, by time of
    /// start.
    ///
    /// # Errors
    /// The source could not be read.
    fn linked(
        &self,
        _wanted: &LinkFilter,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(WindowId),
    ) -> Result<(), ArchiveError> {
        self.windows(from, until, &mut |window| visit(window.id))?;
        Ok(())
    }
    /// The profile of a window; `None` when it is gone by now.
    ///
    /// # Errors
    /// It could not be read or decoded: it is damaged.
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError>;
    /// Spans of merged windows that may stand for windows of `from .. until`; none where nothing is merged.
    ///
    /// # Errors
    /// The source could not be read.
    fn merged_spans(
        &self,
        _from: UnixTime,
        _until: UnixTime,
    ) -> Result<Vec<MergedSpan>, ArchiveError> {
        Ok(Vec::new())
    }
    /// The frames of a span's windows; `None` when it does not stand for these windows any more.
    ///
    /// # Errors
    /// It is damaged: its windows are there to be read one by one.
    fn merged_profile(&self, _span: &MergedSpan) -> Result<Option<Arc<Profile>>, ArchiveError> {
        Ok(None)
    }
    /// What a person calls the window: its file's name.
    fn label(&self, id: WindowId) -> Option<&str>;
}

/// The windows of an archive that is being written to.
pub struct LiveSource {
    archive: Arc<dyn WindowArchive>,
    decode: Arc<Decode>,
}

impl LiveSource {
    /// The source over `archive`, whose bytes `decode` understands.
    #[must_use]
    pub fn new(archive: Arc<dyn WindowArchive>, decode: Arc<Decode>) -> Self {
        Self { archive, decode }
    }
}

impl Source for LiveSource {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        self.archive.extent()
    }
    fn kinds(&self) -> Result<Vec<ProfileKind>, ArchiveError> {
        Ok(self.archive.kinds())
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        self.archive.visit(from, until, visit)
    }
    fn linked(
        &self,
        wanted: &LinkFilter,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(WindowId),
    ) -> Result<(), ArchiveError> {
        self.archive.linked(wanted, from, until, visit)
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        let read = || {
            let Some(bytes) = self.archive.read(id)? else {
                return Ok(None);
            };
            Ok(Some(Arc::new((self.decode)(&bytes)?)))
        };
        read().inspect_err(|error| self.archive.note_damage(id, error))
    }
    fn merged_spans(
        &self,
        from: UnixTime,
        until: UnixTime,
    ) -> Result<Vec<MergedSpan>, ArchiveError> {
        self.archive.merged_spans(from, until)
    }
    fn merged_profile(&self, span: &MergedSpan) -> Result<Option<Arc<Profile>>, ArchiveError> {
        Ok(self.archive.read_merged(span)?.map(Arc::new))
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

/// Saved files: each is a window, numbered in the order given.
pub struct SavedSource {
    files: Vec<SavedFile>,
    /// Indices into `files` by start.
    by_start: Vec<usize>,
}

struct SavedFile {
    label: String,
    bytes: u64,
    profile: Arc<Profile>,
    summary: WindowSummary,
}

/// The shortest time that a saved profile is taken to span, in ns: one without times still has a
/// place on the time line.
const SHORTEST: u64 = 1_000_000_000;

impl SavedSource {
    /// The source over decoded files: what to call each, its length in bytes, its profile.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (String, u64, Profile)>) -> Self {
        let files: Vec<SavedFile> = files
            .into_iter()
            .map(|(label, bytes, mut profile)| {
                profile.end = profile
                    .end
                    .max(UnixTime(profile.start.0.saturating_add(SHORTEST)));
                SavedFile {
                    label,
                    bytes,
                    summary: WindowSummary::of(&profile),
                    profile: Arc::new(profile),
                }
            })
            .collect();
        let mut by_start: Vec<usize> = (0..files.len()).collect();
        by_start.sort_by_key(|index| files[*index].profile.start);
        Self { files, by_start }
    }

    fn file(&self, id: WindowId) -> Option<&SavedFile> {
        self.files.get(usize::try_from(id.0).ok()?)
    }
}

impl Source for SavedSource {
    fn live(&self) -> bool {
        false
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        let start = self.files.iter().map(|file| file.profile.start).min();
        let end = self.files.iter().map(|file| file.profile.end).max();
        Ok(start.zip(end))
    }
    fn kinds(&self) -> Result<Vec<ProfileKind>, ArchiveError> {
        let mut kinds: Vec<_> = self
            .files
            .iter()
            .map(|file| file.profile.kind.kind)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        for index in &self.by_start {
            let file = &self.files[*index];
            if file.profile.start < until && file.profile.end > from {
                visit(ArchivedWindow {
                    id: WindowId(*index as u64),
                    start: file.profile.start,
                    end: file.profile.end,
                    bytes: file.bytes,
                    summary: file.summary.clone(),
                });
            }
        }
        Ok(Vec::new())
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        Ok(self.file(id).map(|file| Arc::clone(&file.profile)))
    }
    fn label(&self, id: WindowId) -> Option<&str> {
        self.file(id).map(|file| file.label.as_str())
    }
}
