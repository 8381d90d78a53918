//! Why a call is made, and about whom: purpose, lawful basis and data subject, with where each was said (DECISIONS 14, 26).

/// Bytes of the longest value that is taken.
pub const STATED_BYTES_MAX: usize = 256;

/// Where something was said. What the issuer signed counts for most, a caller's own header for least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatedBy {
    /// A claim of the token.
    Claim,
    /// The gateway, from the caller's groups.
    Policy,
    /// A header of the call.
    Header,
}

impl StatedBy {
    /// The word that policies and records use: `claim`, `policy` or `header`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Policy => "policy",
            Self::Header => "header",
        }
    }
}

/// A value and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// What was said.
    pub value: String,
    /// Where.
    pub by: StatedBy,
}

/// What is known of why a call is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// What for, such as `triage`.
    pub purpose: Option<Stated>,
    /// The lawful basis, such as `vital_interest`.
    pub basis: Option<Stated>,
    /// The person whom the call is about, by the name that callers have for them.
    pub data_subject: Option<Stated>,
}

/// A purpose that goes with a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeOfGroups {
    /// Members of any of these have it.
    pub groups: Vec<String>,
    /// The purpose.
    pub purpose: String,
    /// The lawful basis, if one goes with it.
    pub basis: Option<String>,
}

impl Declared {
    /// What a token's claims leave open, from the first entry that fits the caller's groups.
    pub(super) fn complete_from_groups(&mut self, map: &[PurposeOfGroups], groups: &[String]) {
        let Some(entry) = map.iter().find(|entry| entry.groups.iter().any(|group| groups.contains(group))) else {
            return;
        };
        let stated = |value: &String| Stated { value: value.clone(), by: StatedBy::Policy };
        if self.purpose.is_none() {
            self.purpose = Some(stated(&entry.purpose));
        }
        if self.basis.is_none() {
            self.basis = entry.basis.as_ref().map(stated);
        }
    }

    /// With what headers say where nothing better is known; `None` if they say nothing. A header never replaces what the
    /// issuer or the gateway said.
    ///
    /// `lines` are the call's header lines as received; names in any case.
    ///
    /// # Errors
    /// The name of a header that stands there twice, or whose value is empty, too long, or not plain visible ASCII.
    pub fn with_headers<'n, 'a>(
        &self,
        lines: impl Iterator<Item = (&'n str, &'a [u8])>,
    ) -> Result<Option<Self>, &'static str> {
        let mut said: [Option<&'a [u8]>; HEADERS.len()] = [None; HEADERS.len()];
        for (name, value) in lines {
            let Some(index) = HEADERS.iter().position(|own| own.eq_ignore_ascii_case(name)) else { continue };
            let (Some(slot), Some(name)) = (said.get_mut(index), HEADERS.get(index)) else { continue };
            let plain = value.iter().all(|byte| (b' '..=b'~').contains(byte));
            if slot.replace(value).is_some() || !plain || !(1..=STATED_BYTES_MAX).contains(&value.len()) {
                return Err(name);
            }
        }
        if said.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut declared = self.clone();
        let slots = [&mut declared.purpose, &mut declared.basis, &mut declared.data_subject];
        for (slot, value) in slots.into_iter().zip(said) {
            if let (None, Some(value)) = (&slot, value) {
                *slot = Some(Stated { value: String::from_utf8_lossy(value).into_owned(), by: StatedBy::Header });
            }
        }
        Ok(Some(declared))
    }
}

/// The header that states a purpose.
pub const PURPOSE_HEADER: &str = "x-sallyport-purpose";
/// The header that states a lawful basis.
pub const BASIS_HEADER: &str = "x-sallyport-basis";
/// The header that names the person whom the call is about.
pub const DATA_SUBJECT_HEADER: &str = "x-sallyport-data-subject";

/// In the order of the fields of [`Declared`].
const HEADERS: [&str; 3] = [PURPOSE_HEADER, BASIS_HEADER, DATA_SUBJECT_HEADER];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stated(value: &str, by: StatedBy) -> Option<Stated> {
        Some(Stated { value: value.to_owned(), by })
    }

    fn headers<'a>(lines: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        lines.iter().map(|(name, value)| (*name, value.as_bytes()))
    }

    #[test]
    fn the_issuer_counts_before_the_gateway_and_the_gateway_before_a_header() {
        let map = [PurposeOfGroups {
            groups: vec!["clinicians".to_owned()],
            purpose: "triage".to_owned(),
            basis: Some("vital_interest".to_owned()),
        }];
        let mut declared = Declared { purpose: stated("audit", StatedBy::Claim), ..Declared::default() };
        declared.complete_from_groups(&map, &["clinicians".to_owned()]);
        let said = [(PURPOSE_HEADER, "research"), (BASIS_HEADER, "consent"), (DATA_SUBJECT_HEADER, "patient-17")];
        let declared = declared.with_headers(headers(&said)).unwrap().unwrap();
        assert_eq!(declared.purpose, stated("audit", StatedBy::Claim));
        assert_eq!(declared.basis, stated("vital_interest", StatedBy::Policy));
        assert_eq!(declared.data_subject, stated("patient-17", StatedBy::Header));
        let alone = Declared::default().with_headers(headers(&said)).unwrap().unwrap();
        assert_eq!(alone.purpose, stated("research", StatedBy::Header));
        assert_eq!(alone.with_headers(headers(&[])), Ok(None));
    }

    #[test]
    fn a_group_without_an_entry_says_nothing() {
        let mut declared = Declared::default();
        declared.complete_from_groups(&[], &["clinicians".to_owned()]);
        assert_eq!(declared, Declared::default());
    }

    #[test]
    fn headers_that_could_mean_two_things_are_refused_by_name() {
        let long = "x".repeat(STATED_BYTES_MAX + 1);
        for lines in [
            vec![(PURPOSE_HEADER, "a"), (PURPOSE_HEADER, "a")],
            vec![(PURPOSE_HEADER, "")],
            vec![(PURPOSE_HEADER, "tri\u{e4}ge")],
            vec![(PURPOSE_HEADER, long.as_str())],
            vec![(PURPOSE_HEADER, "a\tb")],
        ] {
            assert_eq!(Declared::default().with_headers(headers(&lines)), Err(PURPOSE_HEADER), "{lines:?}");
        }
    }
}
