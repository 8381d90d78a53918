//! One shard of the search index: a tantivy index of the rows of one day. Its documents stand in the order of their tree index, the
//! newest first, so that the newest rows that match are the first that are met.

use std::path::Path;

use tantivy::index::SegmentId;
use tantivy::indexer::{IndexWriterOptions, NoMergePolicy};
use tantivy::query::{AllQuery, BooleanQuery, EnableScoring, Query as TantivyQuery, Scorer, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, NumericOptions, Schema};
use tantivy::store::Compressor;
use tantivy::{
    DocSet, Index, IndexBuilder, IndexReader, IndexSettings, IndexSortByField, IndexWriter, Order, ReloadPolicy,
    Searcher, SegmentReader, TERMINATED, TantivyDocument, Term,
};

use super::walk::Spot;
use crate::error::EvidenceError;
use crate::layout;

/// Memory of a shard's writer, in bytes. What it holds when it is full becomes a segment of its own, to be merged later.
const WRITER_BYTES: usize = 48_000_000;
/// A row without an end, where an index is wanted.
const NO_END: u64 = u64::MAX;
const INDEX: &str = "index";

struct Fields {
    token: Field,
    index: Field,
    time_us: Field,
    segment: Field,
    place: Field,
    end_index: Field,
    end_segment: Field,
    end_place: Field,
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let fields = Fields {
        token: schema.add_u64_field("token", NumericOptions::default().set_indexed()),
        index: schema.add_u64_field(INDEX, FAST),
        time_us: schema.add_u64_field("time_us", FAST),
        segment: schema.add_u64_field("segment", FAST),
        place: schema.add_u64_field("place", FAST),
        end_index: schema.add_u64_field("end_index", FAST),
        end_segment: schema.add_u64_field("end_segment", FAST),
        end_place: schema.add_u64_field("end_place", FAST),
    };
    (schema.build(), fields)
}

/// A row as it stands in a shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) time_us: u64,
    pub(super) first: Spot,
    pub(super) end: Option<Spot>,
}

/// A shard.
pub(super) struct Shard {
    index: Index,
}

impl Shard {
    /// Opens a shard; none if it is not there.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, EvidenceError> {
        if !directory.join("meta.json").exists() {
            return Ok(None);
        }
        Ok(Some(Self { index: Index::open_in_dir(directory).map_err(failed)? }))
    }

    pub(super) fn open_or_make(directory: &Path) -> Result<Self, EvidenceError> {
        if let Some(shard) = Self::open(directory)? {
            return Ok(shard);
        }
        layout::make_directory(directory)?;
        let settings = IndexSettings {
            sort_by_field: Some(IndexSortByField { field: INDEX.to_owned(), order: Order::Desc }),
            // Nothing is stored in it.
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let builder = IndexBuilder::new().schema(schema().0).settings(settings);
        Ok(Self { index: builder.create_in_dir(directory).map_err(failed)? })
    }

    pub(super) fn writer(&self) -> Result<ShardWriter, EvidenceError> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        let writer = self.index.writer_with_options(options).map_err(failed)?;
        Ok(ShardWriter { writer, fields: schema().1 })
    }

    /// Whether something that was taken out of it is still in its files.
    pub(super) fn holds_deleted(&self) -> Result<bool, EvidenceError> {
        let segments = self.index.searchable_segment_metas().map_err(failed)?;
        Ok(segments.iter().any(|segment| segment.num_deleted_docs() > 0))
    }

    /// For finding what is in it now.
    pub(super) fn finder(&self) -> Result<Finder, EvidenceError> {
        let reader = self.index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        Ok(Finder { searcher: IndexReader::searcher(&reader) })
    }
}

/// Finds rows of a shard, as it was when this was made.
pub(super) struct Finder {
    searcher: Searcher,
}

impl Finder {
    /// Tells `each` of the rows that have all these tokens and whose index is below `before`, the newest first, until it has enough.
    pub(super) fn find(
        &self,
        tokens: &[u64],
        before: u64,
        each: &mut dyn FnMut(Listed) -> Result<Enough, EvidenceError>,
    ) -> Result<(), EvidenceError> {
        let query = query(tokens);
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher)).map_err(failed)?;
        let mut cursors = Vec::new();
        for segment in self.searcher.segment_readers() {
            let scorer = weight.scorer(segment, 1.0).map_err(failed)?;
            cursors.push(Cursor::new(segment, scorer, before)?);
        }
        // The segments' rows may lie between each other.
        while let Some(newest) = cursors.iter_mut().filter(|cursor| cursor.index.is_some()).max_by_key(|c| c.index) {
            if each(newest.listed())? == Enough::Yes {
                break;
            }
            newest.advance();
        }
        Ok(())
    }
}

/// Whether a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    Yes,
    No,
}

fn query(tokens: &[u64]) -> Box<dyn TantivyQuery> {
    let (_, fields) = schema();
    let term = |token: &u64| -> Box<dyn TantivyQuery> {
        Box::new(TermQuery::new(Term::from_field_u64(fields.token, *token), IndexRecordOption::Basic))
    };
    match tokens {
        [] => Box::new(AllQuery),
        [one] => term(one),
        several => Box::new(BooleanQuery::intersection(several.iter().map(term).collect())),
    }
}

type Column = std::sync::Arc<dyn tantivy::columnar::ColumnValues<u64>>;

/// Goes through the matching documents of one segment.
struct Cursor<'s> {
    segment: &'s SegmentReader,
    scorer: Box<dyn Scorer>,
    /// Of the document it is at; none at the end.
    index: Option<u64>,
    indices: Column,
    columns: [Column; 6],
}

impl<'s> Cursor<'s> {
    fn new(segment: &'s SegmentReader, scorer: Box<dyn Scorer>, before: u64) -> Result<Self, EvidenceError> {
        let column = |name: &str| segment.fast_fields().column_first_or_default::<u64>(name).map_err(failed);
        let columns = [
            column("time_us")?,
            column("segment")?,
            column("place")?,
            column("end_index")?,
            column("end_segment")?,
            column("end_place")?,
        ];
        let indices = column(INDEX)?;
        // The first document that is below.
        let (mut low, mut high) = (0, segment.max_doc());
        while low < high {
            let middle = low + (high - low) / 2;
            if indices.get_val(middle) >= before { low = middle + 1 } else { high = middle }
        }
        let mut cursor = Self { segment, scorer, index: None, indices, columns };
        if cursor.scorer.doc() < low {
            cursor.scorer.seek(low);
        }
        cursor.settle();
        Ok(cursor)
    }

    fn advance(&mut self) {
        self.scorer.advance();
        self.settle();
    }

    /// Skips what was deleted.
    fn settle(&mut self) {
        let gone = |doc| self.segment.alive_bitset().is_some_and(|alive| !alive.is_alive(doc));
        while self.scorer.doc() != TERMINATED && gone(self.scorer.doc()) {
            self.scorer.advance();
        }
        let doc = self.scorer.doc();
        self.index = (doc != TERMINATED).then(|| self.indices.get_val(doc));
    }

    fn listed(&self) -> Listed {
        let doc = self.scorer.doc();
        let [time_us, segment, place, end_index, end_segment, end_place] =
            self.columns.each_ref().map(|column| column.get_val(doc));
        let number = |segment| u32::try_from(segment).unwrap_or(0);
        let first = Spot::from_place(number(segment), place, self.index.unwrap_or(0));
        let end = (end_index != NO_END).then(|| Spot::from_place(number(end_segment), end_place, end_index));
        Listed { time_us, first, end }
    }
}

/// The writing end of a shard.
pub(super) struct ShardWriter {
    writer: IndexWriter,
    fields: Fields,
}

impl ShardWriter {
    pub(super) fn add(&self, row: &Listed, tokens: &[u64]) -> Result<(), EvidenceError> {
        let mut document = TantivyDocument::new();
        for token in tokens {
            document.add_u64(self.fields.token, *token);
        }
        let end = row.end.unwrap_or(Spot { index: NO_END, ..Spot::default() });
        let fields = &self.fields;
        for (field, number) in [
            (fields.index, row.first.index),
            (fields.time_us, row.time_us),
            (fields.segment, u64::from(row.first.segment)),
            (fields.place, row.first.in_segment()),
            (fields.end_index, end.index),
            (fields.end_segment, u64::from(end.segment)),
            (fields.end_place, end.in_segment()),
        ] {
            document.add_u64(field, number);
        }
        self.writer.add_document(document).map(drop).map_err(failed)
    }

    /// Takes out what has a token; added again before the same commit, it is never missed.
    pub(super) fn take_out(&self, token: u64) {
        self.writer.delete_term(Term::from_field_u64(self.fields.token, token));
    }

    /// Makes it durable and visible.
    pub(super) fn commit(mut self) -> Result<(), EvidenceError> {
        self.commit_now()?;
        self.writer.wait_merging_threads().map_err(failed)
    }

    /// As [`Self::commit`], without putting segments together.
    pub(super) fn commit_alone(mut self) -> Result<(), EvidenceError> {
        self.writer.set_merge_policy(Box::new(NoMergePolicy));
        self.commit_now()?;
        self.writer.wait_merging_threads().map_err(failed)
    }

    /// Writes every segment anew that something was taken out of, so that nothing of it stays on the disk.
    pub(super) fn purge(mut self) -> Result<(), EvidenceError> {
        self.writer.set_merge_policy(Box::new(NoMergePolicy));
        let touched: Vec<SegmentId> = {
            // As long as one of these lives, the files of its segment are not collected.
            let segments = self.writer.index().searchable_segment_metas().map_err(failed)?;
            segments.iter().filter(|segment| segment.num_deleted_docs() > 0).map(|segment| segment.id()).collect()
        };
        for segment in touched {
            self.writer.merge(&[segment]).wait().map_err(failed)?;
        }
        self.writer.garbage_collect_files().wait().map_err(failed)?;
        self.writer.wait_merging_threads().map_err(failed)
    }

    fn commit_now(&mut self) -> Result<(), EvidenceError> {
        self.writer.commit().map(drop).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> EvidenceError {
    EvidenceError::Malformed(format!("the search index: {error}; it can be deleted and is made again"))
}
