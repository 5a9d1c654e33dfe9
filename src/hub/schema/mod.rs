//! What can be queried: tables, their keys, fields and defaults (hub.md §9). No table has code of its own.
//!
//! A table may be an alias: it is stored under another name and queried with a field list of its own. Defaults are those of
//! the stored table.

mod key;
mod tables;

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value};

pub use key::{Key, collapsed_key, key};

/// A row, or the pattern of a query.
pub type Row = Map<String, Value>;

/// A table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// The name in queries.
    pub name: &'static str,
    /// The name in the database.
    pub stored: &'static str,
    /// The primary key's fields, in the order of the schema.
    pub key: &'static [&'static str],
    /// All fields.
    pub fields: &'static [Field],
    /// Whether rows must not be deleted.
    pub permanent: bool,
    /// Whether projects are kept out.
    pub accounts_only: bool,
}

impl Table {
    const fn stored(name: &'static str, key: &'static [&'static str], fields: &'static [Field]) -> Table {
        Table::alias(name, name, key, fields)
    }

    const fn alias(
        name: &'static str,
        stored: &'static str,
        key: &'static [&'static str],
        fields: &'static [Field],
    ) -> Table {
        Table { name, stored, key, fields, permanent: false, accounts_only: false }
    }

    const fn permanent(mut self) -> Table {
        self.permanent = true;
        self
    }

    const fn accounts_only(mut self) -> Table {
        self.accounts_only = true;
        self
    }

    /// Finds a table by the name in queries.
    pub fn find(name: &str) -> Option<&'static Table> {
        tables::TABLES.iter().find(|table| table.name == name)
    }

    /// Finds a field.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether a field is part of the primary key.
    pub fn is_key(&self, name: &str) -> bool {
        self.key.contains(&name)
    }

    /// Whether clients may write at all.
    pub fn is_writable(&self) -> bool {
        self.fields.iter().any(|field| field.set != Set::No)
    }

    /// Defaults of fields that are null or absent.
    pub fn defaults(&self) -> &'static Row {
        static EMPTY: LazyLock<Row> = LazyLock::new(Row::new);
        DEFAULTS.get(self.stored).unwrap_or(&EMPTY)
    }
}

static DEFAULTS: LazyLock<HashMap<&'static str, Row>> = LazyLock::new(|| {
    let stored = tables::TABLES.iter().filter(|table| table.name == table.stored);
    let parsed = |field: &Field| Some((field.name.to_owned(), serde_json::from_str(field.default?).ok()?));
    stored.map(|table| (table.name, table.fields.iter().filter_map(parsed).collect())).collect()
});

/// Who may set a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Nobody.
    No,
    /// Whoever may write the row.
    Yes,
    /// It is filled with the caller's account id when it is absent.
    OwnAccount,
    /// It has to be the caller's project, and is filled with it when it is absent.
    OwnProject,
}

/// A field of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether queries may read it.
    pub readable: bool,
    /// Who may set it.
    pub set: Set,
    /// The default on read, as JSON.
    pub default: Option<&'static str>,
    /// Whether it is a part of the key that holds a time.
    pub time: bool,
    /// Down to which depth objects are merged on set.
    pub depth: usize,
    /// Longest text, in characters; what is longer is clipped.
    pub max_chars: Option<usize>,
    /// Whether the value has to be the name of a setting.
    pub setting: bool,
}

const fn field(name: &'static str, set: Set) -> Field {
    Field { name, readable: true, set, default: None, time: false, depth: 1, max_chars: None, setting: false }
}

const fn no(name: &'static str) -> Field {
    field(name, Set::No)
}

const fn yes(name: &'static str) -> Field {
    field(name, Set::Yes)
}

const fn own_account(name: &'static str) -> Field {
    field(name, Set::OwnAccount)
}

const fn own_project(name: &'static str) -> Field {
    field(name, Set::OwnProject)
}

impl Field {
    const fn or(mut self, default: &'static str) -> Field {
        self.default = Some(default);
        self
    }

    const fn hidden(mut self) -> Field {
        self.readable = false;
        self
    }

    const fn time(mut self) -> Field {
        self.time = true;
        self
    }

    const fn deep(mut self) -> Field {
        self.depth = 2;
        self
    }

    const fn setting(mut self) -> Field {
        self.setting = true;
        self
    }

    const fn at_most(mut self, chars: usize) -> Field {
        self.max_chars = Some(chars);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        for table in tables::TABLES {
            let stored = Table::find(table.stored).unwrap();
            assert_eq!(stored.stored, stored.name, "{}", table.name);
            assert_eq!(stored.key, table.key, "{}", table.name);
            assert!(table.key.iter().all(|name| table.field(name).is_some()), "{}", table.name);
            let mut names: Vec<_> = table.fields.iter().map(|field| field.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.fields.len(), "{}", table.name);
            for field in table.fields {
                if let Some(default) = field.default {
                    assert!(serde_json::from_str::<Value>(default).is_ok(), "{}.{}", table.name, field.name);
                }
            }
        }
    }

    #[test]
    fn aliases_have_the_defaults_of_what_they_are_stored_as() {
        let collaborators = Table::find("collaborators").unwrap();
        assert_eq!(collaborators.defaults()["profile"]["color"], "rgb(170,170,170)");
        assert!(Table::find("mentions").unwrap().defaults().is_empty());
        assert!(Table::find("nothing").is_none());
    }
}
