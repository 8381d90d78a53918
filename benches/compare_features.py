"""Ours with one feature after the other added: what each of them costs. Configurations for compare_core.sallyport()."""

MASKS = "detect(us_ssn, credit_card, email, phone) as label"


def features(group, rules):
    """[(name, policy, durability, whether one caller with an API key replaces the many with tokens), …]; the last has everything on."""
    bare = f'rule access {{ when identity in group("{group}") allow record at most metadata }}'
    chosen = f'rule access {{ when identity in group("{group}") and model in {{ "bench-model", ~"chat-*" }} allow record at most metadata }}'
    recorded = chosen.replace("at most metadata", "at least full")
    every_rule = rules()
    requests, both = f"rule masks {{ mask request text with {MASKS} }}", f"rule masks {{ mask request text with {MASKS} mask response text with {MASKS} }}"
    count = len(every_rule) + 2
    steps = [
        ("plain proxy (one API key, metadata, durability observe)", [bare], "observe", True),
        ("+ identity (a JWT out of many)", [bare], "observe", False),
        (f"+ {count} rules", [chosen, *every_rule], "observe", False),
        ("+ masking requests", [chosen, requests, *every_rule], "observe", False),
        ("+ masking answers", [chosen, both, *every_rule], "observe", False),
        ("+ payloads recorded", [recorded, both, *every_rule], "observe", False),
        ("+ strict evidence: everything on", [recorded, both, *every_rule], "strict", False),
    ]
    return [(f"sallyport, {name}", "\n".join(['policy "bench" version 1', *policy]) + "\n", durability, by_key) for name, policy, durability, by_key in steps]
