"""Mistakes as plugins make them, each in a copy of the toy, and the check that names it."""

from __future__ import annotations

from typing import Final

from .variants import Defect

_CLIENT, _NORMALISE, _PROVIDER, _INIT, _MANIFEST = (
    "client.py",
    "normalise.py",
    "provider.py",
    "__init__.py",
    "provider.toml",
)
_GET = (
    '        answer = await self._context.http.request(operation, "GET", url, params=params, auth=auth, check=_check)\n'
)
_BODY = '            body = await self._client.get("list_fills", path, auth, **span, **after)\n'
_ROWS = '            rows, before, cursor = rows_in(body, "fills"), cursor, body.get("next")\n'
_YIELD = "            page = await self._page(auth, account, request, rows, cursor)\n"
_COVERED = "            covered=() if cursor else (covered,),\n"
_ACCOUNTS = '        rows = rows_in(await self._client.get("list_accounts", "/accounts", auth), "accounts")\n'
_AUTH = "                identity=f\"user:{body['user']}\",\n"

DEFECTS: Final = (
    Defect(
        "a zone is dropped and its time taken for UTC",
        "test_a_time_in_another_zone_is_the_same_instant",
        _NORMALISE,
        "    return moment.astimezone(UTC)\n",
        "    return moment.replace(tzinfo=UTC)\n",
    ),
    Defect(
        "a naive time",
        "test_every_trade_is_as_the_books_have_it",
        _NORMALISE,
        "    return moment.astimezone(UTC)\n",
        "    return moment.astimezone(UTC).replace(tzinfo=None)\n",
    ),
    Defect(
        "money goes through a float",
        "test_numbers_keep_every_digit",
        _NORMALISE,
        "    return Decimal(value)\n",
        "    return Decimal(str(float(value)))\n",
    ),
    Defect(
        "a float stays in the raw row",
        "test_numbers_are_decimals_and_times_are_utc",
        _NORMALISE,
        '    raw = {**row, "contract": dict(contract)}\n',
        '    raw = {**row, "contract": dict(contract), "paid": float(row.get("fee") or 0)}\n',
    ),
    Defect(
        "a rebate is taken for a cost",
        "test_a_cost_is_positive_and_a_rebate_negative",
        _NORMALISE,
        'amount=_number(row["fee"])',
        'amount=abs(_number(row["fee"]))',
    ),
    Defect(
        "costs have the broker's sign turned round",
        "test_cash_is_what_quantity_price_and_costs_make",
        _NORMALISE,
        'amount=_number(row["fee"])',
        'amount=-_number(row["fee"])',
    ),
    Defect(
        "the fee of an order is put on each of its legs",
        "test_every_trade_is_as_the_books_have_it",
        _NORMALISE,
        'amount=_number(row["fee"])',
        'amount=_number(row["fee"]) * (2 if row.get("group") else 1)',
    ),
    Defect(
        "a page that fails is taken for an empty one",
        "test_a_fault_is_told_as_what_it_is[status_500]",
        _PROVIDER,
        _BODY,
        '            try:\n                body = await self._client.get("list_fills", path, auth, **span, **after)\n'
        '            except Exception:\n                body = {"fills": [], "next": None}\n',
    ),
    Defect(
        "a page that the broker refuses is taken for the last one",
        "test_coverage_claims_only_what_was_read",
        _PROVIDER,
        _BODY,
        '            try:\n                body = await self._client.get("list_fills", path, auth, **span, **after)\n'
        '            except BrokerAPIError:\n                body = {"fills": [], "next": None}\n',
    ),
    Defect(
        "an answer of another kind is taken for an empty one",
        "test_a_fault_is_told_as_what_it_is[wrong_type]",
        _CLIENT,
        '    if not isinstance(body, dict):\n        raise BrokerResponseError("The answer is no object, which is not'
        ' what the broker documents.")\n    return body\n',
        '    return body if isinstance(body, dict) else {"fills": [], "contracts": [], "accounts": [], "next": None}\n',
    ),
    Defect(
        "the first page covers the whole window",
        "test_coverage_claims_only_what_was_read",
        _PROVIDER,
        _COVERED,
        "            covered=(covered,),\n",
    ),
    Defect(
        "more is covered than was asked for",
        "test_coverage_claims_only_what_was_read",
        _PROVIDER,
        "window=request.window)\n",
        "window=TimeWindow(request.window.start - timedelta(days=1), request.window.end))\n",
    ),
    Defect(
        "an account without trades is never covered",
        "test_what_was_read_to_its_end_is_covered",
        _PROVIDER,
        _COVERED,
        "            covered=() if cursor or not rows else (covered,),\n",
    ),
    Defect(
        "a token is logged",
        "test_no_secret_is_shown",
        _CLIENT,
        _GET,
        '        logging.getLogger("toy").debug("asking with %s", auth.access_token.reveal() if auth.access_token else "")\n'
        + _GET,
    ),
    Defect(
        "a token is printed",
        "test_no_secret_is_shown",
        _CLIENT,
        _GET,
        '        print("Authorization:", auth.access_token.reveal() if auth.access_token else "")\n' + _GET,
    ),
    Defect(
        "an error repeats what the broker answered",
        "test_no_secret_is_shown",
        _CLIENT,
        "    code = _code(response)\n",
        "    code = _code(response)\n    if response.status == 400 and code is None:\n"
        '        raise BrokerResponseError(f"The broker refuses: {response.text()}")\n',
    ),
    Defect(
        "an error shows an address",
        "test_a_fault_is_told_as_what_it_is[status_404]",
        _CLIENT,
        "    code = _code(response)\n",
        "    code = _code(response)\n    if response.status == 404:\n"
        '        raise BrokerResponseError(f"There is nothing at {response.url}.")\n',
    ),
    Defect(
        "it sleeps by itself",
        "test_it_neither_sleeps_nor_tries_again",
        _PROVIDER,
        _YIELD,
        "            await asyncio.sleep(0.01)\n" + _YIELD,
    ),
    Defect(
        "it sleeps by the clock of the context",
        "test_it_neither_sleeps_nor_tries_again",
        _PROVIDER,
        _YIELD,
        "            await self._context.clock.sleep(1)\n" + _YIELD,
    ),
    Defect(
        "it tries again by itself",
        "test_it_neither_sleeps_nor_tries_again",
        _CLIENT,
        _GET,
        "        try:\n            return _object(\n                await self._context.http.request(\n"
        '                    operation, "GET", url, params=params, auth=auth, check=_check\n                )\n            )\n'
        "        except BrokerRetryableError:\n            pass\n" + _GET,
    ),
    Defect(
        "a refusal for the rate loses the wait that is asked for",
        "test_a_fault_is_told_as_what_it_is[too_many_seconds]",
        _CLIENT,
        "    code = _code(response)\n",
        "    code = _code(response)\n    if response.status == 429:\n"
        '        raise BrokerRateLimitError("Toy Brokers is asked too often.", retry_after=timedelta(seconds=60))\n',
    ),
    Defect(
        "an outage is told as a refusal of the login",
        "test_an_outage_at_the_login_is_tried_again",
        _CLIENT,
        "    code = _code(response)\n",
        "    code = _code(response)\n    if response.status >= 500:\n"
        '        raise BrokerAuthError("Toy Brokers does not let this login in.")\n',
    ),
    Defect(
        "a wrong password is told as something that passes",
        "test_wrong_credentials_ask_the_user",
        _CLIENT,
        '        raise BrokerAuthError("Toy Brokers does not accept this user name and password.", code=code)\n',
        '        raise BrokerUnavailableError("Toy Brokers does not answer the login just now.", code=code)\n',
    ),
    Defect(
        "a host that is not declared, through core",
        "test_only_declared_hosts_are_contacted",
        _PROVIDER,
        _BODY,
        '            await self._context.http.request("tell", "GET", "https://count.toy-friends.example/hit", auth=auth)\n'
        + _BODY,
    ),
    Defect(
        "a host that is not declared, around core",
        "test_only_declared_hosts_are_contacted",
        _PROVIDER,
        _BODY,
        '            try:\n                socket.create_connection(("count.toy-friends.example", 443), 1)\n'
        "            except OSError:\n                pass\n" + _BODY,
    ),
    Defect(
        "requests go around core",
        "test_every_request_goes_through_core",
        _CLIENT,
        _GET,
        "        async with aiohttp.ClientSession() as session:\n"
        "            (await session.get(url, params=params)).close()\n" + _GET,
    ),
    Defect(
        "the id of a trade is made of what may change",
        "test_names_of_rows_hang_on_nothing_that_may_change",
        _NORMALISE,
        "    name = f\"fill:{row['id']}\"\n",
        "    name = f\"fill:{row['id']}:{row['note']}\"\n",
    ),
    Defect(
        "ids are floats on the way",
        "test_ids_keep_every_digit",
        _NORMALISE,
        "    name = f\"fill:{row['id']}\"\n",
        "    name = f\"fill:{float(row['id']):.0f}\"\n",
    ),
    Defect(
        "equal fills are taken for one",
        "test_equal_fills_stay_two",
        _PROVIDER,
        _ROWS,
        _ROWS
        + '            rows = list({(str(one.get("at")), one.get("price"), one.get("kind")): one for one in rows}.values())\n',
    ),
    Defect(
        "a side that is unknown is a sale",
        "test_an_unknown_word_is_never_guessed",
        _NORMALISE,
        'side=_SIDES[row["side"]],',
        'side=_SIDES.get(row["side"], Side.SELL),',
    ),
    Defect(
        "a row that is not understood is left out",
        "test_an_odd_row_takes_no_other_along",
        _PROVIDER,
        "            quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),\n",
        "",
    ),
    Defect(
        "a row that is not understood ends the page",
        "test_an_odd_row_takes_no_other_along",
        _NORMALISE,
        "    except (KeyError, TypeError, ValueError, InvalidOperation) as error:\n",
        "    except KeyError as error:\n",
    ),
    Defect(
        "a field that is new is an error",
        "test_fields_that_are_new_change_nothing",
        _NORMALISE,
        '    if not _is_id(row["id"]):\n',
        '    if len(row) > 14:\n        raise ValueError("a row has a field that is not known")\n'
        '    if not _is_id(row["id"]):\n',
    ),
    Defect(
        "rows are found by their place",
        "test_the_order_of_rows_changes_nothing",
        _PROVIDER,
        'return {str(row.get("symbol")): row for row in rows_in(found, "contracts")}',
        'return dict(zip(symbols, rows_in(found, "contracts"), strict=False))',
    ),
    Defect(
        "fields are found by their place",
        "test_the_order_of_fields_changes_nothing",
        _NORMALISE,
        'price=_number(row["price"]),',
        "price=_number([*row.values()][9]),",
    ),
    Defect(
        "cancels are passed over",
        "test_every_trade_is_as_the_books_have_it",
        _PROVIDER,
        _ROWS,
        _ROWS + '            rows = [one for one in rows if one.get("kind") != "cancel"]\n',
    ),
    Defect(
        "a cancel does not say what it cancels",
        "test_corrections_lead_to_what_they_correct",
        _NORMALISE,
        "            refs=(f\"fill:{row['of']}\",),\n",
        "",
    ),
    Defect(
        "a multiplier is made up",
        "test_multipliers_come_from_the_broker",
        _NORMALISE,
        '    multiplier = contract.get("multiplier")\n',
        '    multiplier = 37 if contract.get("kind") == "FUT" else 1\n',
    ),
    Defect(
        "the end of a window is read a day early",
        "test_windows_may_be_cut_anywhere",
        _PROVIDER,
        '"to": request.window.end.isoformat()}',
        '"to": (request.window.end - timedelta(days=1)).isoformat()}',
    ),
    Defect(
        "a trade at the very start of a window is left out",
        "test_a_row_at_the_edge_of_a_window_is_kept",
        _PROVIDER,
        _ROWS,
        _ROWS
        + '            rows = [one for one in rows if str(one.get("at")) > request.window.start.isoformat()[:19] + "~"'
        ' or str(one.get("at"))[:19] > request.window.start.isoformat()[:19]]\n',
    ),
    Defect(
        "a page that comes again is read for ever",
        "test_a_page_that_comes_again_ends_the_reading",
        _PROVIDER,
        "(not isinstance(cursor, str) or cursor == before)",
        "not isinstance(cursor, str)",
    ),
    Defect(
        "an empty page is taken for the last one",
        "test_an_empty_page_in_the_middle_ends_nothing",
        _PROVIDER,
        _ROWS,
        _ROWS + "            cursor = cursor if rows else None\n",
    ),
    Defect(
        "a cursor that is unknown begins anew in silence",
        "test_a_cursor_that_is_none_is_refused",
        _CLIENT,
        '        raise BrokerCursorError("The broker does not know this cursor any more.", code=code)\n',
        '        raise BrokerUnavailableError("The broker does not know this cursor any more.", code=code)\n',
    ),
    Defect(
        "a cursor leads to behind the next page",
        "test_a_reading_goes_on_from_every_cursor",
        _PROVIDER,
        "        cursor = request.cursor\n",
        "        cursor = request.cursor\n        if cursor is not None:\n"
        '            skipped = await self._client.get("list_fills", path, auth, **span, after=cursor)\n'
        '            cursor = skipped.get("next") or cursor\n',
    ),
    Defect(
        "a provider keeps what it read for the login that came first",
        "test_one_provider_keeps_two_logins_apart",
        _PROVIDER,
        _ACCOUNTS,
        '        if not _ALL:\n            _ALL.append(await self._client.get("list_accounts", "/accounts", auth))\n'
        '        rows = rows_in(_ALL[0], "accounts")\n',
    ),
    Defect(
        "the old refresh token is kept",
        "test_a_replaced_refresh_token_is_given_to_core",
        _PROVIDER,
        "        return await self._client.renew(auth)\n",
        "        return attrs.evolve(await self._client.renew(auth), refresh_token=auth.refresh_token)\n",
    ),
    Defect(
        "a renewal without a refresh token is an error",
        "test_a_refresh_token_that_is_left_out_stays",
        _CLIENT,
        '            refresh = body.get("refresh")\n',
        '            refresh = body["refresh"]\n',
    ),
    Defect(
        "a login is named by its token",
        "test_who_is_logged_in_has_one_name",
        _CLIENT,
        _AUTH,
        "                identity=f\"user:{body['token'][:8]}\",\n",
    ),
    Defect(
        "the end of a token is told by the machine's clock",
        "test_the_end_of_a_token_is_told_by_the_clock_of_the_context",
        _CLIENT,
        "self._context.clock.now() + timedelta",
        "datetime.now(UTC) + timedelta",
    ),
    Defect(
        "an account is named by what its user may change",
        "test_the_id_of_an_account_is_not_its_name",
        _PROVIDER,
        '                    account_id=str(row["id"]),\n',
        '                    account_id=str(row["name"]).removeprefix("Account "),\n',
    ),
    Defect(
        "importing it does more",
        "test_importing_it_does_nothing_else",
        _INIT,
        "\n\n@hookimpl\n",
        '\n\nos.environ["TOY_LOADED"] = "yes"\nthreading.Thread(target=time.sleep, args=(0.5,), daemon=True).start()\n\n\n'
        "@hookimpl\n",
    ),
    Defect(
        "it imports the inside of core",
        "test_it_imports_only_the_names_for_plugins",
        _NORMALISE,
        "from decimal import Decimal, InvalidOperation\n",
        "from decimal import Decimal, InvalidOperation\n\nimport brokersync.redaction\n",
    ),
    Defect(
        "a capability is shown and not declared",
        "test_capabilities_are_declared_where_they_are_shown",
        _MANIFEST,
        'capabilities = ["corrections", "futures", "multi_leg"]\n',
        'capabilities = ["corrections", "futures"]\n',
    ),
    Defect(
        "a capability is declared and nowhere shown",
        "test_capabilities_are_declared_where_they_are_shown",
        _MANIFEST,
        '"multi_leg"]\n',
        '"multi_leg", "options"]\n',
    ),
    Defect(
        "all rows that were ever read are kept",
        "test_a_hundred_thousand_rows_fit_in_memory",
        _PROVIDER,
        _YIELD,
        _YIELD + "            _ALL.extend(page.bookings)\n",
    ),
    Defect(
        "a reading can not be cancelled",
        "test_a_reading_that_is_cancelled_ends_within_two_seconds",
        _PROVIDER,
        _BODY,
        '            try:\n                body = await self._client.get("list_fills", path, auth, **span, **after)\n'
        '            except asyncio.CancelledError:\n                body = {"fills": [], "next": None}\n',
    ),
    Defect(
        "a reading leaves work running behind it",
        "test_a_reading_that_is_cancelled_ends_within_two_seconds",
        _PROVIDER,
        "        cursor = request.cursor\n",
        "        cursor = request.cursor\n        _ALL.append(asyncio.ensure_future(_linger()))\n",
    ),
    Defect(
        "a lasting failure is logged each time",
        "test_a_lasting_failure_is_logged_once",
        _CLIENT,
        "    code = _code(response)\n",
        '    code = _code(response)\n    if response.status >= 500:\n        logging.getLogger(__name__).error("Toy is down")\n',
    ),
    Defect(
        "kept rows are read otherwise",
        "test_kept_rows_are_read_as_fresh_ones",
        _NORMALISE,
        'kept.raw["contract"], kept.account_id',
        "{}, kept.account_id",
    ),
    Defect(
        "the raw row is not kept",
        "test_raw_rows_are_json_without_secrets",
        _NORMALISE,
        "    return TradeBooking.of(_trade(row, contract, account_id, name), raw=raw)\n",
        "    return TradeBooking.of(_trade(row, contract, account_id, name))\n",
    ),
)
