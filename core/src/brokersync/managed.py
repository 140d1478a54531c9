"""A plugin's provider, held to the contract at every call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from brokersync.answers import accounts_fault, challenge_fault, dated, dated_page, kind_of, page_fault
from brokersync.concealing import KnownSecrets, kept_fault, secrets_in, secrets_of
from brokersync.counting_logins import CountsLogins, Uncounted
from brokersync.errors import BrokerConfigError, BrokerError, BrokerPluginError, Fault
from brokersync.manifest import Manifest
from brokersync.provider import BrokerProvider, Consent, ProviderContext, ProviderSpec
from brokersync.registry import LoadedProvider
from brokersync.secret import Secret
from brokersync.typed import wrong_type
from brokersync.types import AuthResult, BrokerAccount, BrokerCredentials, Challenge, TradePage, TradeRequest

_END = object()


def _nothing() -> None:
    pass


class ManagedProvider:
    """A plugin's provider, held to the contract.

    Everything it raises is a `BrokerError` that names provider and operation; a foreign exception, also one that is no
    `Exception`, or an answer of the wrong kind is a `BrokerPluginError` that shows no text of the plugin's. A
    cancellation passes where somebody asked for it. Nothing that it raises, nor what led to it, shows a secret that the
    plugin was given or gave; `known` are those that no call gives it. Closing it closes what it opened.
    """

    def __init__(
        self,
        loaded: LoadedProvider,
        context: ProviderContext,
        *,
        on_close: Callable[[], Awaitable[None]] | None = None,
        on_kept: Callable[[], None] | None = None,
        logins: CountsLogins | None = None,
        known: KnownSecrets | None = None,
    ) -> None:
        self.manifest: Manifest = loaded.manifest
        self.spec: ProviderSpec = loaded.spec
        self.context = context
        self._plugin = f"{loaded.distribution} {loaded.version}".rstrip()
        self._on_close, self._on_kept = on_close, on_kept or _nothing
        self._logins = logins or Uncounted()
        self._closed = False
        self._known = known or KnownSecrets()
        self._provider = self._create()

    async def authenticate(self, credentials: BrokerCredentials) -> AuthResult:
        """See `BrokerProvider`; `credentials` come from `make_credentials`."""
        if self.spec.credentials is None or not isinstance(credentials, self.spec.credentials):
            raise BrokerConfigError(
                f"These credentials are not those of {self.manifest.key!r}, but {type(credentials).__name__}.",
                remedy="Build them with make_credentials().",
                provider=self.manifest.key,
                operation="authenticate",
            )
        given = [getattr(credentials, field.name, None) for field in self.manifest.user_fields if field.secret]
        self._logins.begin_login()
        with self._border("authenticate", given):
            auth = await self._provider.authenticate(credentials)
        return await self._logins.logged_in(self._checked_auth("authenticate", auth))

    async def refresh_token(self, auth: AuthResult, *, named: bool = True) -> AuthResult:
        """See `BrokerProvider`; the answer is of the same login, unless its name is made up and not yet `named`."""
        with self._border("refresh_token", secrets_of(auth)):
            fresh = await self._provider.refresh_token(auth)
        self._checked_auth("refresh_token", fresh)
        if named and fresh.identity != auth.identity:
            raise self._broken("refresh_token", "it answered with another login's identity")
        return fresh

    async def adopt(self, auth: AuthResult) -> AuthResult:
        """The login that foreign tokens belong to; see `ProviderSpec.adopt`."""
        if self.spec.adopt is None:
            fields = ", ".join(field.name for field in self.manifest.user_fields)
            raise BrokerConfigError(
                f"The plugin for {self.manifest.display_name} takes no tokens over.",
                remedy=f"Connect with the fields of its login, which a key or token may be one of: {fields}.",
                provider=self.manifest.key,
                operation="adopt",
            )
        self._logins.begin_login()
        with self._border("adopt", secrets_of(auth)):
            adopted = await self.spec.adopt(self.context, auth)
        self._checked_auth("adopt", adopted)
        if adopted.identity == auth.identity:
            raise self._broken("adopt", "it did not say who the tokens belong to")
        return await self._logins.logged_in(adopted)

    async def begin_consent(self, credentials: BrokerCredentials, redirect_uri: str | None) -> Challenge:
        """See `Consent.begin`. Raises `BrokerConfigError` where the plugin knows no such login."""
        consent = self._consent("begin")
        with self._border("begin"):
            challenge: object = await consent.begin(credentials, redirect_uri)
        return self._checked_challenge("begin", challenge)

    async def complete_consent(self, challenge: Challenge, answers: Mapping[str, str]) -> AuthResult | Challenge:
        """See `Consent.complete`. All that came is a secret here, but for the name of an error."""
        consent = self._consent("complete")
        given = [value for name, value in answers.items() if name != "error"]
        self._logins.begin_login()
        with self._border("complete", (*challenge.state.values(), *given)):
            answer: object = await consent.complete(challenge, answers)
        if isinstance(answer, Challenge):
            return self._checked_challenge("complete", answer)
        return await self._logins.logged_in(self._checked_auth("complete", answer))

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        """See `BrokerProvider`."""
        with self._border("get_accounts", secrets_of(auth)):
            answer: object = await self._provider.get_accounts(auth)
        if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            raise self._broken("get_accounts", f"it answered with {kind_of(answer)} instead of a sequence of accounts")
        fault = accounts_fault(answer, self.manifest) or kept_fault(answer, secrets_of(auth))
        if fault:
            raise self._broken("get_accounts", fault)
        return dated(answer)

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        """See `BrokerProvider`. Raises `BrokerConfigError` for a source that the manifest does not declare."""
        self._check_source(request.source)
        secrets = secrets_of(auth)
        with self._border("get_trades", secrets):
            pages: object = self._provider.get_trades(auth, request)
        if not isinstance(pages, AsyncGenerator):
            if inspect.iscoroutine(pages):
                pages.close()
            raise self._broken("get_trades", f"it answered with {kind_of(pages)} instead of an async generator")
        try:
            while True:
                with self._border("get_trades", secrets):
                    page = await anext(pages, _END)
                if page is _END:
                    return
                yield self._checked_page(page, secrets)
                self._on_kept()  # who asks for the next page keeps this one, whatever comes
        finally:
            self._on_kept()
            with self._border("get_trades", secrets):
                await pages.aclose()

    async def diagnose(self, auth: AuthResult) -> Sequence[str]:
        """See `ProviderSpec.diagnose`; nothing where the plugin does not look."""
        if self.spec.diagnose is None:
            return ()
        with self._border("diagnose", secrets_of(auth)):
            said = await self.spec.diagnose(self.context, auth)
        return tuple(map(self._known.shown, said))

    async def revoke(self, auth: AuthResult) -> bool:
        """Have the broker end a login; `False` where the plugin knows no way."""
        if self.spec.consent is None:
            return False
        with self._border("revoke", secrets_of(auth)):
            await self.spec.consent(self.context).revoke(auth)
        return True

    async def aclose(self) -> None:
        """Close the plugin's provider and the context that was made for it; again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            with self._border("aclose"):
                await self._provider.aclose()
        finally:
            if self._on_close is not None:
                await self._on_close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _create(self) -> BrokerProvider[Any]:
        if self.spec.create is None:
            raise BrokerConfigError(
                f"The broker {self.manifest.key!r} gives trades as files only; there is nothing to log in to.",
                remedy="Import a file that you downloaded from the broker.",
                provider=self.manifest.key,
            )
        with self._border("create", secrets_in(self.manifest.operator_fields, self.context.settings)):
            provider: object = self.spec.create(self.context)
        if not isinstance(provider, BrokerProvider):
            raise self._broken("create", f"it answered with {kind_of(provider)}, which lacks methods of BrokerProvider")
        return provider

    @contextmanager
    def _border(self, verb: str, secrets: Iterable[Secret | str | None] = ()) -> Iterator[None]:
        self._known.learn(secrets)
        task, broken = _current_task(), None
        try:
            yield
        except BrokerError as error:
            self._known.conceal(error, secrets)
            error.provider = error.provider or self.manifest.key
            error.operation = error.operation or verb
            if error.fault is Fault.PLUGIN:
                error.report_to = error.report_to or self.manifest.support
            raise
        except BaseException as error:
            if _ends_the_call(error, task):
                self._known.conceal(error, secrets)
                raise
            broken = self._broken(verb, wrong_type(error) or f"it raised {type(error).__name__}")
            raise broken from error
        finally:
            if broken is not None:
                self._known.conceal_what_led_to(broken, secrets)

    def _consent(self, verb: str) -> Consent[Any]:
        if self.spec.consent is None or not self.manifest.consents:
            raise BrokerConfigError(
                f"The plugin for {self.manifest.display_name} knows no login at the broker's own page.",
                remedy=f"Connect with its fields: {', '.join(field.name for field in self.manifest.login_fields)}.",
                provider=self.manifest.key,
                operation=verb,
            )
        with self._border(verb):
            return self.spec.consent(self.context)

    def _checked_challenge(self, verb: str, challenge: object) -> Challenge:
        if not isinstance(challenge, Challenge):
            raise self._broken(verb, f"it answered with {kind_of(challenge)} instead of a Challenge")
        self._known.learn(challenge.state.values())
        if fault := challenge_fault(challenge):
            raise self._broken(verb, fault)
        return challenge

    def _broken(self, verb: str, what: str) -> BrokerPluginError:
        return BrokerPluginError(
            f"The plugin {self._plugin} for {self.manifest.key!r} broke the contract in {verb}: "
            f"{self._known.shown(what)}.",
            remedy="Report it to the plugin's authors.",
            provider=self.manifest.key,
            operation=verb,
            report_to=self.manifest.support,
        )

    def _checked_auth(self, verb: str, auth: object) -> AuthResult:
        if not isinstance(auth, AuthResult):
            raise self._broken(verb, f"it answered with {kind_of(auth)} instead of an AuthResult")
        self._known.learn(secrets_of(auth))
        strange = set(auth.sources or ()) - {source.name for source in self.manifest.sources}
        if strange:
            raise self._broken(verb, f"its manifest has no source {', '.join(sorted(strange))}")
        if fault := kept_fault(auth, secrets_of(auth)):
            raise self._broken(verb, fault)
        return auth

    def _check_source(self, name: str) -> None:
        names = [source.name for source in self.manifest.sources]
        if name not in names:
            raise BrokerConfigError(
                f"The broker {self.manifest.key!r} has no source {name!r}.",
                remedy=f"Its sources are: {', '.join(names)}.",
                provider=self.manifest.key,
                operation="get_trades",
            )

    def _checked_page(self, page: object, secrets: Iterable[Secret]) -> TradePage:
        if not isinstance(page, TradePage):
            raise self._broken("get_trades", f"it gave {kind_of(page)} instead of a TradePage")
        fault = page_fault(page, self.manifest) or kept_fault(page, secrets)
        if fault:
            raise self._broken("get_trades", fault)
        return self._known.shown_page(dated_page(page))


def _ends_the_call(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether it comes from those who called; libraries raise the same of themselves, or worse, as a panic of Rust."""
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    if isinstance(error, GeneratorExit):
        # a call that is thrown away unfinished is closed from outside of its task
        return _current_task() is not task
    return isinstance(error, KeyboardInterrupt)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop is running
        return None
