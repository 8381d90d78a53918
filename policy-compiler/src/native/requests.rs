//! One boundary request as facts.

use super::boundary::{Boundary, Dimension, OUTSIDE, Samples};
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{
    BodyView, ClaimValue, ClaimView, EnvView, Facts, HeaderView, JsonPath, JsonValue, TextEngine, TextTest, Unreadable,
};
use std::borrow::Cow;

/// One choice in every dimension. It is its own header, body and text view.
pub(super) struct Request<'b, 'p> {
    boundary: &'b Boundary<'p>,
    choices: Vec<usize>,
}

impl<'b, 'p> Request<'b, 'p> {
    /// `choices` has one sample number per dimension.
    pub(super) fn new(boundary: &'b Boundary<'p>, choices: Vec<usize>) -> Self {
        Self { boundary, choices }
    }

    /// Hands the facts of this request to `judge`.
    pub(super) fn with_facts<T>(&self, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let mut groups = Vec::new();
        let mut scopes = Vec::new();
        let mut strings = [""; StrField::ALL.len()];
        let mut ints = [None; IntField::ALL.len()];
        let mut bools = [None; BoolField::ALL.len()];
        let mut ip = None;
        for ((dimension, samples), choice) in self.boundary.looked_at.iter().zip(&self.choices) {
            match (dimension, samples) {
                (Dimension::Str(field), Samples::Str(texts)) => {
                    let text = texts.get(*choice).map(AsRef::as_ref);
                    set(&mut strings, *field as usize, text);
                }
                (Dimension::Int(field), Samples::Int(numbers)) => {
                    set(&mut ints, *field as usize, numbers.get(*choice).copied());
                }
                (Dimension::Bool(field), _) => {
                    set(&mut bools, *field as usize, Some(answer(*choice)));
                }
                (Dimension::Ip, Samples::Ip(addresses)) => {
                    ip = addresses.get(*choice).copied().flatten();
                }
                (Dimension::Group(group), _) if *choice == 1 => groups.push((*group).to_owned()),
                (Dimension::Scope(scope), _) if *choice == 1 => scopes.push((*scope).to_owned()),
                _ => {}
            }
        }
        judge(&Facts {
            strings,
            ints,
            bools,
            groups: &groups,
            scopes: &scopes,
            ip,
            headers: self,
            body: self,
            claims: self,
            env: self,
            text_engine: self,
            ..Facts::empty()
        })
    }

    fn sample(&self, dimension: Dimension<'_>) -> Option<(usize, &Samples<'p>)> {
        let place = self.boundary.place(dimension)?;
        let (_, samples) = self.boundary.looked_at.get(place)?;
        Some((*self.choices.get(place)?, samples))
    }

    fn readable(&self) -> Result<(), Unreadable> {
        match self.sample(Dimension::Body) {
            Some((1, _)) => Err(Unreadable),
            _ => Ok(()),
        }
    }
}

impl HeaderView for Request<'_, '_> {
    fn get(&self, name: &str) -> Option<&str> {
        match self.sample(Dimension::Header(name))? {
            (choice, Samples::Header(texts)) => texts.get(choice)?.as_deref(),
            _ => None,
        }
    }
}

impl BodyView for Request<'_, '_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        const TEXTS: &[Cow<'_, str>] = &[Cow::Borrowed(OUTSIDE)];
        self.readable().map(|()| TEXTS)
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        self.readable()?;
        if let Some((choice, Samples::Json(values))) = self.sample(Dimension::Json(path))
            && let Some(Some(value)) = values.get(choice)
        {
            visit(value.clone());
        }
        Ok(())
    }

    fn tools(&self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), Unreadable> {
        self.readable()?;
        if let Some((choice, Samples::Header(names))) = self.sample(Dimension::Tool)
            && let Some(Some(name)) = names.get(choice)
        {
            visit(name);
        }
        Ok(())
    }
}

impl ClaimView for Request<'_, '_> {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        Ok(match self.sample(Dimension::Claim(key)) {
            Some((choice, Samples::Claim(values))) => values.get(choice).cloned().flatten(),
            _ => None,
        })
    }
}

impl EnvView for Request<'_, '_> {
    fn env(&self, name: &str) -> Option<&str> {
        match self.sample(Dimension::Env(name))? {
            (choice, Samples::Header(texts)) => texts.get(choice)?.as_deref(),
            _ => None,
        }
    }
}

impl TextEngine for Request<'_, '_> {
    fn test(&self, test: &TextTest, _text: &str) -> Option<bool> {
        self.sample(Dimension::Text(test)).and_then(|(choice, _)| answer(choice))
    }
}

fn set<T>(slots: &mut [T], slot: usize, value: Option<T>) {
    if let (Some(slot), Some(value)) = (slots.get_mut(slot), value) {
        *slot = value;
    }
}

/// The samples of [`Samples::Three`].
fn answer(choice: usize) -> Option<bool> {
    match choice {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
