"""Renewal and enrolment: the types of protocols/SPEC.md's chapter on certificates."""

from __future__ import annotations

from dataclasses import dataclass

import codec1 as c1
from messages import DURATION


@dataclass(frozen=True)
class RenewCertificate:
    certificate: str
    request: str


@dataclass(frozen=True)
class Renewed:
    certificate: str
    revoked: str


@dataclass(frozen=True)
class RevocationList:
    known: tuple[int, ...] | None


@dataclass(frozen=True)
class Enrol:
    token: str
    request: str


@dataclass(frozen=True)
class Enrolled:
    certificate: str
    authority: str
    revoked: str


RENEW_CERTIFICATE = c1.Struct(RenewCertificate, certificate=c1.STRING, request=c1.STRING)
RENEWED = c1.Struct(Renewed, certificate=c1.STRING, revoked=c1.STRING)
RENEWAL_REFUSAL = c1.Enum(
    Malformed=(c1.STRING,),
    NotPermitted=(c1.STRING,),
    Revoked=(),
    NotDue=(DURATION,),
    AuthorityEnds=(),
    Busy=(DURATION,),
    Unavailable=(),
)
REVOCATION_LIST = c1.Struct(RevocationList, known=c1.Option(c1.Tuple(*[c1.U8] * 32)))
ENROL = c1.Struct(Enrol, token=c1.STRING, request=c1.STRING)
ENROLMENT_OUTCOME = c1.Result(
    c1.Struct(Enrolled, certificate=c1.STRING, authority=c1.STRING, revoked=c1.STRING),
    c1.Enum(
        Malformed=(c1.STRING,),
        Token=(c1.STRING,),
        NameInUse=(c1.STRING,),
        Busy=(DURATION,),
        Unavailable=(),
    ),
)
