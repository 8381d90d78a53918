//! The table of what leaked.

use std::fmt;

use super::cases::{Case, Split, Wire};

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not come through, the text around it did.
    Masked,
    /// It came through; where.
    Leaked(String),
    /// Nothing came through; why.
    Withheld(String),
}

/// A case and its outcome.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was asked.
    pub case: Case,
    /// What became of it.
    pub outcome: Outcome,
}

/// Every outcome.
#[derive(Clone, Debug, Default)]
pub struct LeakReport {
    /// In the order in which they were asked.
    pub rows: Vec<Row>,
}

impl LeakReport {
    pub(crate) fn add(&mut self, case: Case, outcome: Outcome) {
        self.rows.push(Row { case, outcome });
    }

    /// Why no case at all came through, if that is so.
    pub(crate) fn nothing_came(&self) -> Option<String> {
        let causes: Vec<&String> = self.rows.iter().filter_map(|row| withheld(&row.outcome)).collect();
        (causes.len() == self.rows.len()).then(|| causes.first().map(|cause| (*cause).clone()).unwrap_or_default())
    }

    /// How many values came through.
    #[must_use]
    pub fn leaked(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Leaked(_))).count()
    }

    /// How many answers did not.
    #[must_use]
    pub fn withheld(&self) -> usize {
        self.rows.iter().filter(|row| withheld(&row.outcome).is_some()).count()
    }

    fn cell(&self, of: impl Fn(&Case) -> bool) -> String {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| of(&row.case)).collect();
        let leaked = rows.iter().filter(|row| matches!(row.outcome, Outcome::Leaked(_))).count();
        let withheld = rows.iter().filter(|row| withheld(&row.outcome).is_some()).count();
        match (leaked, withheld) {
            (0, 0) => "ok".to_owned(),
            (0, some) => format!("withheld {some}/{}", rows.len()),
            (some, _) => format!("LEAK {some}/{}", rows.len()),
        }
    }
}

fn withheld(outcome: &Outcome) -> Option<&String> {
    match outcome {
        Outcome::Withheld(cause) => Some(cause),
        Outcome::Masked | Outcome::Leaked(_) => None,
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {:<10} {:<10} ", "api", "place", "split")?;
        for wire in Wire::STREAMS {
            write!(f, "{wire:<14}")?;
        }
        writeln!(f, "body")?;
        let mut places: Vec<_> = self.rows.iter().map(|row| (row.case.api, row.case.place)).collect();
        places.dedup();
        for (api, place) in places {
            for split in Split::ALL {
                let here = |case: &Case| case.api == api && case.place == place;
                write!(f, "{api:<12} {place:<10} {split:<10} ")?;
                for wire in Wire::STREAMS {
                    let cell = self.cell(|case| here(case) && case.split == split && case.wire == wire);
                    write!(f, "{cell:<14}")?;
                }
                match split {
                    Split::Whole => writeln!(f, "{}", self.cell(|case| here(case) && case.wire == Wire::Body))?,
                    _ => writeln!(f)?,
                }
            }
        }
        for row in &self.rows {
            let Case { api, place, split, wire, .. } = row.case;
            match &row.outcome {
                Outcome::Masked => {}
                Outcome::Leaked(place_of_it) => {
                    writeln!(f, "leaked: {api}, {place}, {split}, {wire}: {place_of_it}")?;
                }
                Outcome::Withheld(cause) => writeln!(f, "withheld: {api}, {place}, {split}, {wire}: {cause}")?,
            }
        }
        let (leaked, withheld) = (self.leaked(), self.withheld());
        writeln!(f, "{} cases, {leaked} leaked, {withheld} withheld", self.rows.len())
    }
}
