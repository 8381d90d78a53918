//! Declares the tables of the file once: what serde reads, and what docs/configuration.md says about each key.

/// A value and where it stands in the file.
pub(super) type At<T> = toml::Spanned<T>;

/// One key of a table, as the documentation shows it.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What may be written: `duration`, `size`, `path`, …
    pub(super) form: &'static str,
    /// The value without the key; `required` and `–` (nothing) stand for themselves.
    pub(super) default: &'static str,
    pub(super) about: &'static str,
}

/// One table of the file.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// As it is written in the file, such as `[listen.limits]`.
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
}

/// A struct with `deny_unknown_fields`, and its [`Table`].
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $name:ident = $path:literal {
            $($(#[doc = $doc:literal])+ $field:ident $(as $rename:literal)?: $type:ty = $form:literal, $default:literal;)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[doc = $doc])+ $(#[serde(rename = $rename)])? pub(super) $field: $type,)*
        }

        #[cfg(test)]
        impl $name {
            /// For docs/configuration.md.
            pub(super) const TABLE: crate::config::table::Table = crate::config::table::Table {
                path: $path,
                about: concat!($($about),+),
                keys: &[$(crate::config::table::Key {
                    name: crate::config::table::first([$($rename,)? stringify!($field)]),
                    form: $form,
                    default: $default,
                    about: concat!($($doc),+),
                }),*],
            };
        }
    };
}
pub(super) use table;

/// The first of one or two names.
#[cfg(test)]
pub(super) const fn first<const N: usize>(names: [&'static str; N]) -> &'static str {
    names[0]
}
