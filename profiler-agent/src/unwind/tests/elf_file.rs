//! A small ELF file by parts.

/// What a file is made of.
pub(crate) struct ElfFile {
    pub(crate) machine: u16,
    pub(crate) text_address: u64,
    pub(crate) text: Vec<u8>,
    /// Name and content of further sections; `.eh_frame` and the like.
    pub(crate) sections: Vec<(&'static str, Vec<u8>)>,
}

pub(crate) const X86_64: u16 = 62;
pub(crate) const AARCH64: u16 = 183;

impl ElfFile {
    pub(crate) fn new(machine: u16, text: Vec<u8>) -> Self {
        Self {
            machine,
            text_address: 0x40_1000,
            text,
            sections: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, content: Vec<u8>) -> Self {
        self.sections.push((name, content));
        self
    }

    /// ELF header, one executable segment, `.text`, the sections, their names.
    /// A section's address is its position in the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        let text_offset = file.len();
        file.extend(&self.text);
        let mut names = b"\0.text\0".to_vec();
        let mut headers = vec![
            [0; 8],
            [
                1,
                1,
                6,
                self.text_address,
                text_offset as u64,
                self.text.len() as u64,
                0,
                0,
            ],
        ];
        for (name, content) in &self.sections {
            file.resize(file.len().next_multiple_of(8), 0);
            let offset = file.len() as u64;
            headers.push([
                names.len() as u64,
                1,
                2,
                offset,
                offset,
                content.len() as u64,
                0,
                0,
            ]);
            names.extend(name.as_bytes());
            names.push(0);
            file.extend(content);
        }
        headers.push([0, 3, 0, 0, file.len() as u64, names.len() as u64, 0, 0]);
        file.extend(&names);
        file.resize(file.len().next_multiple_of(8), 0);
        let section_offset = file.len() as u64;
        for [name, kind, flags, address, offset, length, link, info] in &headers {
            file.extend((*name as u32).to_le_bytes());
            file.extend((*kind as u32).to_le_bytes());
            for word in [flags, address, offset, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend((*link as u32).to_le_bytes());
            file.extend((*info as u32).to_le_bytes());
            file.extend([0; 16]);
        }
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &3u16.to_le_bytes());
        put(18, &self.machine.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(40, &section_offset.to_le_bytes());
        for (at, value) in [
            (54, 56),
            (56, 1),
            (58, 64),
            (60, headers.len()),
            (62, headers.len() - 1),
        ] {
            put(at, &(value as u16).to_le_bytes());
        }
        put(64, &1u32.to_le_bytes());
        put(68, &5u32.to_le_bytes());
        put(72, &(text_offset as u64).to_le_bytes());
        put(80, &self.text_address.to_le_bytes());
        put(96, &(self.text.len() as u64).to_le_bytes());
        put(104, &(self.text.len() as u64).to_le_bytes());
        file
    }
}

/// A section `.debug_frame` (absolute addresses), entry by entry.
#[derive(Default)]
pub(crate) struct DebugFrame {
    pub(crate) bytes: Vec<u8>,
}

impl DebugFrame {
    fn entry(&mut self, body: &[u8]) {
        self.bytes.extend((body.len() as u32).to_le_bytes());
        self.bytes.extend(body);
    }

    /// A CIE (version 3, alignments 1 and -8); returns its offset.
    pub(crate) fn cie(&mut self, return_address: u8, instructions: &[u8]) -> u32 {
        let offset = self.bytes.len() as u32;
        let mut body = vec![0xff, 0xff, 0xff, 0xff, 3, 0, 1, 0x78, return_address];
        body.extend(instructions);
        self.entry(&body);
        offset
    }

    /// An FDE.
    pub(crate) fn fde(&mut self, cie: u32, start: u64, length: u64, instructions: &[u8]) {
        let mut body = cie.to_le_bytes().to_vec();
        body.extend(start.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(instructions);
        self.entry(&body);
    }
}
