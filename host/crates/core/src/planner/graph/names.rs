//! Names as numbers.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Gives every name a number, in order of appearance, and finds it again.
///
/// Hashing names is most of the work of planning, so a name is hashed once per
/// appearance, and the table holds numbers only, which keeps it in the cache.
/// The hash is keyed anew in every process: a request cannot be made slow by
/// choosing names that collide.
#[derive(Debug, Default)]
pub struct Names<'a> {
    names: Vec<&'a str>,
    table: HashTable<u32>,
    state: RandomState,
}

impl<'a> Names<'a> {
    /// Room for some names.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            names: Vec::with_capacity(capacity),
            table: HashTable::with_capacity(capacity),
            state: RandomState::default(),
        }
    }

    /// The number of a name, and whether it is new.
    ///
    /// # Panics
    /// At 2³² names.
    pub fn intern(&mut self, name: &'a str) -> (u32, bool) {
        let Self {
            names,
            table,
            state,
        } = self;
        let hash = |name: &str| state.hash_one(name.as_bytes());
        let same = |&number: &u32| names[number as usize] == name;
        match table.entry(hash(name), same, |&number| hash(names[number as usize])) {
            Entry::Occupied(found) => (*found.get(), false),
            Entry::Vacant(free) => {
                let number = u32::try_from(names.len()).expect("fewer than 2³² names");
                free.insert(number);
                names.push(name);
                (number, true)
            }
        }
    }

    /// The number of a name that is there.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        let hash = self.state.hash_one(name.as_bytes());
        self.table
            .find(hash, |&number| self.names[number as usize] == name)
            .copied()
    }

    /// The name of a number.
    ///
    /// # Panics
    /// When the number was not given out.
    #[must_use]
    pub fn name(&self, number: u32) -> &'a str {
        self.names[number as usize]
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.names.iter().copied()
    }
}
