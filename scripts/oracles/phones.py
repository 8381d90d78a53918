"""Example numbers of every region of libphonenumber, in international form, must be phone numbers for the detectors too.

usage: phones.py JUDGE
"""

import subprocess
import sys

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

# Short forms that other kinds of services have.
KINDS = [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.VOIP, PhoneNumberType.TOLL_FREE]

texts = []
for region in sorted(phonenumbers.SUPPORTED_REGIONS):
    for kind in KINDS:
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            continue
        for form in (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL):
            text = phonenumbers.format_number(number, form)
            texts.append((region, text))
lines = "".join(f"phone\t\t{text}\n" for _, text in texts)
answers = subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True, check=True).stdout.split()
assert len(answers) == len(texts)
missed = [text for text, answer in zip(texts, answers) if answer != "1"]
share = len(missed) / len(texts)
print(f"{len(texts)} example numbers of libphonenumber, {len(missed)} missed ({share:.2%}): {missed[:20]}")
# Numbers of fewer than seven digits are not told from others.
long = [(region, text) for region, text in missed if sum(c.isdigit() for c in text) >= 7]
sys.exit(bool(long))
