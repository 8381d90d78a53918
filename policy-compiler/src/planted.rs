//! Compiler bugs planted on purpose, so that the tests can show that they would be found. Outside of tests there are none.

/// Whether this bug is planted on this thread; `false` outside of tests.
#[cfg(not(test))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}
#[cfg(test)]
macro_rules! planted {
    ($bug:ident) => {
        crate::planted::is($crate::planted::Bug::$bug)
    };
}
#[cfg(test)]
pub(crate) use list::{Bug, is, with};
pub(crate) use planted;

#[cfg(test)]
mod list {
    use std::cell::Cell;

    macro_rules! bugs {
        ($($bug:ident),* $(,)?) => {
            /// A way to be wrong.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub(crate) enum Bug { $($bug),* }
            impl Bug {
                pub(crate) const ALL: &'static [Self] = &[$(Self::$bug),*];
            }
        };
    }

    bugs! {
        // Facts.
        EmptyTextIsKnown,
        ShortestPrefixWins,
        PrefixChainIsCut,
        SuffixesAreForgotten,
        LiteralsIgnoreGlobs,
        AddressBoundsAreOpen,
        MappedAddressesStaySix,
        ScopesAreGroups,
        ClaimErrorsAreFalse,
        RiskIsNotSummed,
        ShadowRiskCounts,
        UnknownNumbersAreZero,
        // Code.
        NotKeepsTruth,
        AndIsOr,
        OrTakesTheFirst,
        EmptyAnyIsTrue,
        GreaterIsGreaterOrEqual,
        LessIsUnsigned,
        EqualIsNotEqual,
        FewDropsTheLast,
        BitmapIsOff,
        GlobsAreNotAsked,
        UnknownBoolIsFalse,
        HeadersAreMemoisedAcrossCalls,
        ResponseRulesAreJudged,
        LastRuleOfAFunctionIsLost,
        // Index and conclusion.
        RowsForgetTheDefault,
        SummaryLosesAWord,
        PartlySettledIsExact,
        ErrorsSettle,
        OtherAttributesSettle,
        HitsAreNotSorted,
        MemberRowsForgetTheDefault,
        ErrorsAreLost,
        LastWayIsLost,
        WaysHitTwice,
        SecondConditionIsTheFirst,
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Runs with the bug on this thread.
    pub(crate) fn with<T>(bug: Bug, run: impl FnOnce() -> T) -> T {
        PLANTED.set(Some(bug));
        let result = run();
        PLANTED.set(None);
        result
    }
}
