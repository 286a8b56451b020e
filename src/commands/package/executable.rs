//! Will this executable start on the workers of Azure? ELF x86-64, and either static or content with an
//! old C library.

use goblin::elf::Elf;
use goblin::elf::header::{EM_X86_64, ET_DYN, ET_EXEC};

/// The newest glibc that an executable may need: that of the oldest image still in use (Debian 11).
pub const NEWEST_GLIBC: (u32, u32) = (2, 31);

/// Why an executable would not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutableFault {
    /// No ELF file at all.
    #[error("is no ELF executable")]
    NotElf,
    /// For another machine.
    #[error("is not for x86-64 Linux")]
    WrongMachine,
    /// Needs a newer C library.
    #[error("needs {needs}, the workers have {}.{}; build it with infra/package", NEWEST_GLIBC.0, NEWEST_GLIBC.1)]
    TooNew {
        /// The newest version it needs, e.g. `GLIBC_2.39`.
        needs: String,
    },
    /// Needs a library that the workers may not have.
    #[error("needs the library {0}, which the workers may not have")]
    Library(String),
}

/// Parts of glibc; everything else must be linked in.
const GLIBC: [&str; 8] = [
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
];

/// Checks the bytes of an executable.
pub(super) fn check(bytes: &[u8]) -> Result<(), ExecutableFault> {
    let elf = Elf::parse(bytes).map_err(|_| ExecutableFault::NotElf)?;
    if !matches!(elf.header.e_type, ET_EXEC | ET_DYN) {
        return Err(ExecutableFault::NotElf);
    }
    if !elf.is_64 || elf.header.e_machine != EM_X86_64 {
        return Err(ExecutableFault::WrongMachine);
    }
    if let Some(library) = elf
        .libraries
        .iter()
        .find(|library| !GLIBC.contains(library))
    {
        return Err(ExecutableFault::Library((*library).to_owned()));
    }
    match newest_glibc(&elf) {
        Some((version, needs)) if version > NEWEST_GLIBC => Err(ExecutableFault::TooNew { needs }),
        _ => Ok(()),
    }
}

/// The newest `GLIBC_x.y` among the versions that its symbols need.
fn newest_glibc(elf: &Elf<'_>) -> Option<((u32, u32), String)> {
    let needs = elf.verneed.as_ref()?;
    let names = needs
        .iter()
        .flat_map(|need| need.iter().collect::<Vec<_>>());
    let names = names.filter_map(|version| elf.dynstrtab.get_at(version.vna_name));
    names
        .filter_map(|name| Some((version(name)?, name.to_owned())))
        .max()
}

/// `GLIBC_2.31` or `GLIBC_2.2.5`; anything else of glibc (`GLIBC_PRIVATE`, `GLIBC_ABI_…`) is too new.
fn version(name: &str) -> Option<(u32, u32)> {
    let rest = name.strip_prefix("GLIBC_")?;
    let mut numbers = rest.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => Some((u32::MAX, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("GLIBC_2.2.5"), Some((2, 2)));
        assert!(version("GLIBC_2.4") < version("GLIBC_2.31"));
        assert!(version("GLIBC_ABI_DT_RELR") > Some(NEWEST_GLIBC));
        assert_eq!(version("GCC_3.0"), None);
    }

    #[test]
    fn only_elf_will_do() {
        assert_eq!(check(b"#!/bin/sh"), Err(ExecutableFault::NotElf));
        assert_eq!(check(b""), Err(ExecutableFault::NotElf));
    }
}
