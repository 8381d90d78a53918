//! Every diagnostic has a code that stays the same from release to release: `SP00` files, `SP01` syntax, `SP02` names, `SP03` types,
//! `SP04` regular expressions, `SP05` effects, `SP06` bounds, `SP09` warnings.

macro_rules! codes {
    ($($name:ident $code:literal $meaning:literal,)*) => {
        /// What a diagnostic is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// Every code: itself, its text, its meaning.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$name, $code, $meaning),)*];

            /// The text that users see and search for.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

codes! {
    Unreadable "SP0001" "a file or directory cannot be read",
    NoFiles "SP0002" "there is no policy file",
    FileTooLarge "SP0003" "a file is larger than the limit",
    SetTooLarge "SP0004" "the files of a set are larger than the limit together",
    NotUtf8 "SP0005" "a file is not UTF-8 text",
    TooManyFiles "SP0006" "too many files, or directories too deep",

    Syntax "SP0101" "something else was expected here",
    SingleEquals "SP0103" "`=` where `==` is meant",
    SymbolForWord "SP0104" "a symbol where the language uses a word",
    UnknownItem "SP0105" "no item begins with this word",
    OpenString "SP0106" "a string that does not end on its line",
    OpenRegex "SP0107" "a regular expression that does not end on its line",
    OpenBracket "SP0108" "a bracket that is never closed",
    StrayBracket "SP0109" "a closing bracket that closes nothing",
    NestingTooDeep "SP0110" "brackets or operators within one another beyond the limit",
    ForbiddenCharacter "SP0111" "a character that hides or reorders text",
    BadEscape "SP0112" "an escape in a string that does not exist",
    BadNumber "SP0113" "a number or unit that cannot be read",
    BadPath "SP0114" "a JSON path that cannot be read",
    BadAddress "SP0115" "an address or network that cannot be read",
    StringTooLong "SP0116" "a string beyond the limit",
    BadDate "SP0117" "a day that is not in the calendar",
    BadJson "SP0118" "JSON that cannot be read",
    DuplicateMember "SP0119" "a member that stands twice in a JSON object",

    UnknownName "SP0201" "no set or condition of this name in the file",
    UnknownField "SP0202" "no field of this name",
    UnknownDetector "SP0203" "no detector of this name",
    UnknownSetType "SP0204" "no type of this name",
    DuplicateName "SP0205" "two definitions of one name in a file",
    DuplicateRule "SP0206" "two rules of one name in a set",
    CyclicDefinition "SP0207" "a definition that needs itself",
    MissingHeader "SP0208" "a set without a `policy` header",
    DuplicateHeader "SP0209" "two `policy` headers in a file",
    ReservedName "SP0210" "a name that has a meaning of its own already",
    UnknownImport "SP0211" "no policy file of this name",
    CyclicImport "SP0212" "files that import each other",
    ImportOutside "SP0213" "an import from outside the policy set",
    UnknownRule "SP0214" "no rule of this name",

    WrongTest "SP0301" "a test that this field does not have",
    WrongSetType "SP0302" "a set of another type than the field",
    OutOfRange "SP0303" "a value outside what is possible",
    NotACondition "SP0304" "something that is neither true nor false",
    EmptySet "SP0305" "a set without entries",
    EmptyComparison "SP0306" "a comparison with empty text, which never holds",
    GlobNotPossible "SP0307" "a glob where only whole names can stand",
    NeedsPresence "SP0308" "a test of something that may be absent",

    BadRegex "SP0401" "a regular expression that cannot be read",
    RegexTooLarge "SP0402" "a regular expression beyond the limit",
    RegexMatchesNothing "SP0403" "a mask with a regular expression that matches the empty text",

    NoEffect "SP0501" "a rule that does nothing",
    ClauseTwice "SP0502" "a clause that may stand once only",
    Contradiction "SP0503" "effects that contradict each other",
    BadStatus "SP0504" "a status that is not 4xx",
    EmptyText "SP0505" "an empty text where one is needed",
    WrongPhase "SP0506" "an effect or test at a time when it cannot be",
    UntilLoosens "SP0507" "an end date after which more would be allowed",
    RiskReadsRisk "SP0508" "a rule that adds risk and reads it",
    LastFourTooMuch "SP0509" "the last four characters of something that has no fixed form",
    NoExpectation "SP0510" "a test that expects nothing, or looks at what is not given",

    BoundsContradict "SP0511" "bounds of two rules that contradict each other on one call",

    TooManyRules "SP0601" "more rules than the limit",
    TooManyEntries "SP0602" "more set entries than the limit",
    ConditionTooLarge "SP0603" "a condition beyond the limit",
    TooManyEffects "SP0604" "more effects in a rule than the limit",
    TooManyRegexes "SP0605" "more regular expressions than the limit",
    TooManyTests "SP0606" "more tests than the limit",

    NothingAllowed "SP0901" "no rule allows anything",
    UnusedLet "SP0902" "a `let` that no rule uses",
    UnusedSet "SP0903" "a `set` that no rule uses",
    LooksLikeGlob "SP0904" "a literal that looks like a glob",
    UnusedDetector "SP0905" "a `detector` that no rule uses",
    UnusedClaim "SP0906" "a `claim` that no rule reads",
    UnusedImport "SP0907" "an `import` of which nothing is used",
    DeliveredStays "SP0908" "a denial that may come after parts of the answer were delivered",
    Expired "SP0909" "an `until` that is over",
    ExpiresSoon "SP0910" "an `until` that is over soon",
    NeverTrue "SP0911" "a condition that no call meets",
    AlwaysTrue "SP0912" "a condition that every call meets",
    UnlessCancels "SP0913" "an `unless` that takes away everything that its `when` lets in",
    Shadowed "SP0914" "a denial whose text no caller ever reads",
    Redundant "SP0915" "a rule that adds nothing to another one",
    AlwaysDenied "SP0916" "an `allow` that another rule always denies",
    MaskBelowDrop "SP0917" "a mask below a path that is dropped",
    MaskNeverMatters "SP0918" "a mask that can never matter",
    OwnApproval "SP0919" "an approval that only the requester could give",
    NotDecided "SP0920" "questions about a set that were not decided",

    Internal "SP0999" "a mistake in the compiler itself",
}
